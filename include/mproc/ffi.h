/* SPDX-License-Identifier: MIT */
/*
 * For bindings from other languages: what a C compiler knows, asked for by name at run time.
 *
 *   1. mproc_function_load() names a native function, for the workers to run.
 *   2. mproc_constant() gives the value of a constant and the size of a struct.
 *   3. mproc_struct_new() makes a struct of options, or an mproc_failure, whose members are set and
 *      read by name.  A language that can lay out a struct itself needs none of this.
 *
 * Workers are forks.  A callback that a foreign-function library made of a function of the language
 * (a closure) works in them if it was made before the pool, and if the language's runtime goes on in
 * a fork; one that was made later is MPROC_EFUNC, where that can be seen.  A runtime that needs to be
 * told of a fork is told by the hooks of mproc_pool_options; one with threads of its own (Node, Go, a
 * JVM) runs native functions only.
 *
 * Any thread of any process may call these; nobody may use a struct during or after its
 * mproc_struct_free().
 */
#ifndef MPROC_FFI_H
#define MPROC_FFI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The address of a native function, to be given wherever the headers ask for one: of the symbol in
 * the shared object at `path`, which is found and loaded as dlopen() does; or, with NULL, in the
 * program and what it has loaded for all to see.
 *
 * Call it before the pool is created, or before mproc_pool_restart(): workers know only what was
 * loaded by then, and MPROC_EFUNC is the answer for the rest.  The object belongs to the process and
 * stays loaded, so the address is good until it ends; loaded again, it is the same.  May block on the
 * file system, and runs the object's constructors.
 *
 * Returns 0; -EINVAL (NULL or "" for a name); MPROC_ELOAD, and dlerror() has the words for it (in a
 * static program it may be that nothing can be loaded); or MPROC_ESYMBOL.
 */
int mproc_function_load(const char *path, const char *symbol, void **function);

/*
 * The value of a constant of these headers: "MPROC_ECRASHED", and "sizeof(mproc_pool_options)" for
 * each struct that begins with its `size`.  Returns 0, -EINVAL (NULL), or -ENOENT.
 */
int mproc_constant(const char *name, int64_t *value);

/*
 * A struct of one of the types that begin with `size`: "mproc_pool_options", "mproc_failure".  Its
 * size is set and the rest is 0; *made can be given wherever the headers ask for such a struct.
 * Returns 0, -EINVAL (NULL), -ENOENT (no such type) or -ENOMEM.
 */
int mproc_struct_new(const char *type, void **made);
/* Give it back: only what mproc_struct_new() made.  Accepts NULL. */
void mproc_struct_free(void *made);

/*
 * Set or read a member, by its name in the header.  Those without _pointer are for numbers, those
 * with it for pointers, to functions too; what a pointer leads to stays the caller's and has to last
 * as long as the struct is used.  Of a member that is an array, as the text of a failure,
 * mproc_struct_get_pointer() gives the place.
 *
 * Returns 0; -EINVAL (NULL, or a member of the other kind); -ENOENT (no such member; `size` and
 * `reserved` are none); -ERANGE (the member or the int64_t has no room for the value).
 */
int mproc_struct_set(void *made, const char *member, int64_t value);
int mproc_struct_get(const void *made, const char *member, int64_t *value);
int mproc_struct_set_pointer(void *made, const char *member, const void *value);
int mproc_struct_get_pointer(const void *made, const char *member, const void **value);

#ifdef __cplusplus
}
#endif

#endif
