// SPDX-License-Identifier: MIT
// The same program in C++17.
#include <mproc/mproc.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>

namespace {

struct Destroy {
    void operator()(mproc_pool *pool) const
    {
        mproc_pool_destroy(pool);
    }
    void operator()(mproc_process *process) const
    {
        mproc_process_free(process);
    }
};

template <typename T> using Owned = std::unique_ptr<T, Destroy>;

int run(std::array<int, 3> &squares, std::int32_t &code)
{
    constexpr std::array<int, 3> numbers{1, 2, 3};
    mproc_process *process = nullptr;
    mproc_pool *pool = nullptr;

    if (int r = mproc_spawn(
            &process, [](void *) -> std::int32_t { return 7; }, nullptr, nullptr))
        return r;
    Owned<mproc_process> owned_process(process);
    if (int r = mproc_join(process, -1, &code))
        return r;
    if (int r = mproc_pool_create(&pool, 2, nullptr))
        return r;
    Owned<mproc_pool> owned_pool(pool);
    return mproc_pool_map(
        pool,
        [](const void *in, void *out, void *) -> std::int32_t {
            int value = *static_cast<const int *>(in);
            *static_cast<int *>(out) = value * value;
            return 0;
        },
        nullptr, numbers.data(), sizeof numbers[0], squares.data(), sizeof squares[0],
        numbers.size(), nullptr);
}

} // namespace

int main()
{
    std::array<int, 3> squares{};
    std::int32_t code = 0;

    if (int r = run(squares, code)) {
        std::fprintf(stderr, "%s\n", mproc_strerror(r));
        return 1;
    }
    std::printf("%d %d %d %d\n", static_cast<int>(code), squares[0], squares[1], squares[2]);
}
