// SPDX-License-Identifier: MIT
//
// libmproc from Rust.
//
//     rustc -O tour.rs -L DIRECTORY -lmproc && ./tour [LIBTASKS]
//
// A Rust function is native code and runs in the workers; a panic in one would end its worker, as it is
// not to leave an extern "C" function.
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};

type MapFn = extern "C" fn(*const i64, *mut i64, *mut c_void) -> i32;
type Function = *const c_void;

#[repr(C)]
struct Iovec {
    base: *const u8,
    length: usize,
}

#[repr(C)]
struct Failure {
    size: usize,
    index: u64,
    error: i32,
    code: i32,
    signal: i32,
    pid: i32,
    attempts: i32,
    text: [c_char; 200],
}

#[repr(C)]
struct MapOptions {
    size: usize,
    chunk_size: usize,
    ctx_size: usize,
    timeout_ms: i64,
    time_limit_ms: i64,
    retries: i32,
    reserved: i32,
    output_max: usize,
    statuses: *mut i32,
    failure: *mut Failure,
}

#[repr(C)]
struct SubmitOptions {
    size: usize,
    ctx_size: usize,
    output_max: usize,
    time_limit_ms: i64,
    retries: i32,
    reserved: i32,
}

#[link(name = "mproc")]
extern "C" {
    fn mproc_function_load(
        path: *const c_char,
        symbol: *const c_char,
        function: *mut Function,
    ) -> c_int;
    fn mproc_pool_create(pool: *mut *mut c_void, workers: i32, options: *const c_void) -> c_int;
    fn mproc_pool_map(
        pool: *mut c_void,
        function: Function,
        ctx: *mut c_void,
        input: *const i64,
        in_size: usize,
        output: *mut i64,
        out_size: usize,
        count: usize,
        options: *const MapOptions,
    ) -> c_int;
    fn mproc_pool_map_bytes(
        pool: *mut c_void,
        function: Function,
        ctx: *mut c_void,
        inputs: *const Iovec,
        count: usize,
        results: *mut *mut c_void,
        options: *const MapOptions,
    ) -> c_int;
    fn mproc_pool_call(
        pool: *mut c_void,
        function: Function,
        ctx: *mut c_void,
        input: *const c_void,
        in_size: usize,
        output: *mut c_void,
        out_size: usize,
        length: *mut usize,
        options: *const SubmitOptions,
    ) -> c_int;
    fn mproc_pool_destroy(pool: *mut c_void);
    fn mproc_results_get(
        results: *const c_void,
        index: usize,
        data: *mut *const u8,
        length: *mut usize,
    ) -> c_int;
    fn mproc_results_free(results: *mut c_void);
    fn mproc_strerror(error: c_int) -> *const c_char;
}

fn words(error: c_int) -> &'static str {
    unsafe { CStr::from_ptr(mproc_strerror(error)) }
        .to_str()
        .unwrap()
}

fn check(result: c_int) {
    assert!(result >= 0, "{}", words(result));
}

fn load(path: &str, symbol: &str) -> Function {
    let (path, symbol) = (CString::new(path).unwrap(), CString::new(symbol).unwrap());
    let mut function = null();
    check(unsafe { mproc_function_load(path.as_ptr(), symbol.as_ptr(), &mut function) });
    function
}

extern "C" fn square(given: *const i64, result: *mut i64, _ctx: *mut c_void) -> i32 {
    unsafe { *result = *given * *given };
    0
}

fn show<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

fn main() {
    let libtasks = std::env::args()
        .nth(1)
        .unwrap_or("./libtasks.so".to_string());
    let (repeat, inverse, hang) = (
        load(&libtasks, "repeat"),
        load(&libtasks, "inverse"),
        load(&libtasks, "hang"),
    );
    let mut pool = null_mut();
    check(unsafe { mproc_pool_create(&mut pool, 2, null()) });

    let (numbers, mut squares) = ([1i64, 2, 3, 4, 5], [0i64; 5]);
    let function = square as MapFn as Function;
    check(unsafe {
        mproc_pool_map(
            pool,
            function,
            null_mut(),
            numbers.as_ptr(),
            8,
            squares.as_mut_ptr(),
            8,
            5,
            null(),
        )
    });
    println!("squares: {}", show(squares.iter()));

    let inputs = ["a", "bc", "def"].map(|string| Iovec {
        base: string.as_ptr(),
        length: string.len(),
    });
    let mut results = null_mut();
    check(unsafe {
        mproc_pool_map_bytes(
            pool,
            repeat,
            null_mut(),
            inputs.as_ptr(),
            3,
            &mut results,
            null(),
        )
    });
    let repeated = (0..3).map(|index| {
        let (mut data, mut length) = (null(), 0);
        check(unsafe { mproc_results_get(results, index, &mut data, &mut length) });
        String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(data, length) }).into_owned()
    });
    println!("strings: {}", show(repeated));
    unsafe { mproc_results_free(results) };

    let (numbers, mut inverses, mut statuses) = ([4i64, 0, 2], [0i64; 3], [0i32; 3]);
    let mut failure: Failure = unsafe { std::mem::zeroed() };
    failure.size = std::mem::size_of::<Failure>();
    let mut options: MapOptions = unsafe { std::mem::zeroed() };
    options.size = std::mem::size_of::<MapOptions>();
    options.statuses = statuses.as_mut_ptr();
    options.failure = &mut failure;
    check(unsafe {
        mproc_pool_map(
            pool,
            inverse,
            null_mut(),
            numbers.as_ptr(),
            8,
            inverses.as_mut_ptr(),
            8,
            3,
            &options,
        )
    });
    let shown = inverses
        .iter()
        .zip(statuses)
        .map(|(inverse, status)| match status {
            0 => inverse.to_string(),
            _ => "?".to_string(),
        });
    println!("inverses: {}", show(shown));
    println!(
        "item {}: {} (signal {})",
        failure.index,
        words(failure.error),
        failure.signal
    );

    let mut limit: SubmitOptions = unsafe { std::mem::zeroed() };
    limit.size = std::mem::size_of::<SubmitOptions>();
    limit.time_limit_ms = 100;
    let result = unsafe {
        mproc_pool_call(
            pool,
            hang,
            null_mut(),
            null(),
            0,
            null_mut(),
            0,
            null_mut(),
            &limit,
        )
    };
    println!("hang: {}", words(result));
    unsafe { mproc_pool_destroy(pool) };
}
