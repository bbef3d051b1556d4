// SPDX-License-Identifier: MIT
//
// libmproc from Node, by koffi (npm install koffi).
//
//   node tour.js [LIBMPROC [LIBTASKS]]
//
// Node has threads of its own and does not go on in a fork, so no JavaScript runs in the workers:
// native functions do, of shared objects that were loaded before the pool.
"use strict";
const koffi = require("koffi");

const [libmproc = "libmproc.so.0", libtasks = "./libtasks.so"] = process.argv.slice(2);
const lib = koffi.load(libmproc);
const mproc = Object.fromEntries([
    "int mproc_function_load(const char *path, const char *symbol, _Out_ void **function)",
    "int mproc_struct_new(const char *type, _Out_ void **made)",
    "int mproc_struct_set(void *made, const char *member, int64_t value)",
    "int mproc_struct_get(void *made, const char *member, _Out_ int64_t *value)",
    "int mproc_struct_set_pointer(void *made, const char *member, void *value)",
    "int mproc_pool_create(_Out_ void **pool, int32_t workers, void *options)",
    "int mproc_pool_map(void *pool, void *fn, void *ctx, void *in, size_t in_size, void *out," +
        " size_t out_size, size_t count, void *options)",
    "int mproc_pool_map_bytes(void *pool, void *fn, void *ctx, void *inputs, size_t count," +
        " _Out_ void **results, void *options)",
    "int mproc_pool_call(void *pool, void *fn, void *ctx, void *in, size_t in_size, void *out," +
        " size_t out_size, void *length, void *options)",
    "void mproc_pool_destroy(void *pool)",
    "int mproc_results_get(void *results, size_t index, _Out_ void **data, _Out_ size_t *length)",
    "void mproc_results_free(void *results)",
    "const char *mproc_strerror(int error)",
].map((declaration) => [/mproc_(\w+)/.exec(declaration)[1], lib.func(declaration)]));

function check(result) {
    if (result < 0) throw new Error(mproc.strerror(result));
    return result;
}

// What a call writes through its last pointer.
function out(call) {
    const place = [null];
    check(call(place));
    return place[0];
}

const load = (symbol) => out((place) => mproc.function_load(libtasks, symbol, place));
const member = (struct, name) => Number(out((place) => mproc.struct_get(struct, name, place)));

function struct(type, members = {}) {
    const made = out((place) => mproc.struct_new(type, place));
    for (const [name, value] of Object.entries(members)) {
        const set = typeof value === "number" ? mproc.struct_set : mproc.struct_set_pointer;
        check(set(made, name, value));
    }
    return made;
}

const [square, repeat, inverse, hang] = ["square", "repeat", "inverse", "hang"].map(load);
const pool = out((place) => mproc.pool_create(place, 2, null));

const squares = new BigInt64Array(5);
check(mproc.pool_map(pool, square, null, BigInt64Array.of(1n, 2n, 3n, 4n, 5n), 8, squares, 8, 5, null));
console.log("squares:", squares.join(" "));

const strings = ["a", "bc", "def"].map((string) => Buffer.from(string));
const inputs = BigUint64Array.from(strings.flatMap((string) => [koffi.address(string), BigInt(string.length)]));
const results = out((place) => mproc.pool_map_bytes(pool, repeat, null, inputs, 3, place, null));
const repeated = strings.map((_, i) => {
    const data = [null], length = [0];
    check(mproc.results_get(results, i, data, length));
    return koffi.decode(data[0], "char", Number(length[0]));
});
mproc.results_free(results);
console.log("strings:", repeated.join(" "));

const inverses = new BigInt64Array(3), statuses = new Int32Array(3);
const failure = struct("mproc_failure");
const options = struct("mproc_map_options", { statuses, failure });
check(mproc.pool_map(pool, inverse, null, BigInt64Array.of(4n, 0n, 2n), 8, inverses, 8, 3, options));
console.log("inverses:", ...Array.from(inverses, (number, i) => (statuses[i] ? "?" : String(number))));
console.log(`item ${member(failure, "index")}: ${mproc.strerror(member(failure, "error"))}` +
    ` (signal ${member(failure, "signal")})`);

const limit = struct("mproc_submit_options", { time_limit_ms: 100 });
console.log("hang:", mproc.strerror(mproc.pool_call(pool, hang, null, null, 0, null, 0, null, limit)));
mproc.pool_destroy(pool);
