// SPDX-License-Identifier: MIT

// libmproc from Go, by cgo.
//
//	CGO_CFLAGS=... CGO_LDFLAGS=-lmproc go run tour.go [LIBTASKS]
//
// Go has threads of its own and does not go on in a fork, so no Go runs in the workers: C functions do.
// What C keeps a pointer to is in memory of C.
package main

/*
#include <mproc/mproc.h>
#include <stdlib.h>

static int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(int64_t *)out = *(const int64_t *)in * *(const int64_t *)in;
    return 0;
}

static mproc_map_fn function_square(void)
{
    return square;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"unsafe"
)

func words(result C.int) string {
	return C.GoString(C.mproc_strerror(result))
}

func check(result C.int) {
	if result < 0 {
		log.Fatal(errors.New(words(result)))
	}
}

func load(path, symbol string) (function unsafe.Pointer) {
	file, name := C.CString(path), C.CString(symbol)
	defer C.free(unsafe.Pointer(file))
	defer C.free(unsafe.Pointer(name))
	check(C.mproc_function_load(file, name, &function))
	return function
}

func main() {
	libtasks := "./libtasks.so"
	if len(os.Args) > 1 {
		libtasks = os.Args[1]
	}
	repeat := C.mproc_task_fn(load(libtasks, "repeat"))
	hang := C.mproc_task_fn(load(libtasks, "hang"))
	inverse := C.mproc_map_fn(load(libtasks, "inverse"))

	var pool *C.mproc_pool
	check(C.mproc_pool_create(&pool, 2, nil))
	defer C.mproc_pool_destroy(pool)

	numbers, squares := []int64{1, 2, 3, 4, 5}, make([]int64, 5)
	check(C.mproc_pool_map(pool, C.function_square(), nil, unsafe.Pointer(&numbers[0]), 8,
		unsafe.Pointer(&squares[0]), 8, 5, nil))
	fmt.Println("squares:", strings.Trim(fmt.Sprint(squares), "[]"))

	short := []string{"a", "bc", "def"}
	inputs := (*[3]C.struct_iovec)(C.calloc(3, C.sizeof_struct_iovec))
	defer C.free(unsafe.Pointer(inputs))
	for i, word := range short {
		inputs[i].iov_base = C.CBytes([]byte(word))
		inputs[i].iov_len = C.size_t(len(word))
		defer C.free(inputs[i].iov_base)
	}
	var results *C.mproc_results
	check(C.mproc_pool_map_bytes(pool, repeat, nil, &inputs[0], 3, &results, nil))
	fmt.Print("strings:")
	for i := range inputs {
		var data unsafe.Pointer
		var length C.size_t
		check(C.mproc_results_get(results, C.size_t(i), &data, &length))
		fmt.Print(" ", C.GoStringN((*C.char)(data), C.int(length)))
	}
	fmt.Println()
	C.mproc_results_free(results)

	options := (*C.mproc_map_options)(C.calloc(1, C.sizeof_mproc_map_options))
	options.size = C.sizeof_mproc_map_options
	options.statuses = (*C.int32_t)(C.calloc(3, C.sizeof_int32_t))
	options.failure = (*C.mproc_failure)(C.calloc(1, C.sizeof_mproc_failure))
	options.failure.size = C.sizeof_mproc_failure
	defer C.free(unsafe.Pointer(options))
	defer C.free(unsafe.Pointer(options.statuses))
	defer C.free(unsafe.Pointer(options.failure))
	divisors, inverses := []int64{4, 0, 2}, make([]int64, 3)
	check(C.mproc_pool_map(pool, inverse, nil, unsafe.Pointer(&divisors[0]), 8,
		unsafe.Pointer(&inverses[0]), 8, 3, options))
	fmt.Print("inverses:")
	for i, status := range (*[3]C.int32_t)(unsafe.Pointer(options.statuses)) {
		if status == 0 {
			fmt.Print(" ", inverses[i])
		} else {
			fmt.Print(" ?")
		}
	}
	fmt.Println()
	failure := options.failure
	fmt.Printf("item %d: %s (signal %d)\n", failure.index, words(C.int(failure.error)), failure.signal)

	limit := C.mproc_submit_options{size: C.sizeof_mproc_submit_options, time_limit_ms: 100}
	fmt.Println("hang:", words(C.mproc_pool_call(pool, hang, nil, nil, 0, nil, 0, nil, &limit)))
}
