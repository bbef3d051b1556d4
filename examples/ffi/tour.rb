# SPDX-License-Identifier: MIT
#
# libmproc from Ruby, by Fiddle.
#
#   ruby tour.rb [LIBMPROC [LIBTASKS]]
#
# Ruby code runs in the workers if it is made into a closure before the pool.  Three things make sure that
# it does not matter which threads there are: the call that creates the pool keeps the interpreter's
# lock (need_gvl), the workers keep the descriptors by which Ruby wakes its threads, and Ruby is told of
# the fork in each of them.
require "fiddle/import"

LIBMPROC = ARGV[0] || "libmproc.so.0"
LIBTASKS = ARGV[1] || "./libtasks.so"

module Mproc
  extend Fiddle::Importer
  dlload LIBMPROC
  typealias "int32_t", "int"
  typealias "int64_t", "long long"
  extern "int mproc_function_load(const char *path, const char *symbol, void **function)"
  extern "int mproc_struct_new(const char *type, void **made)"
  extern "int mproc_struct_set(void *made, const char *member, int64_t value)"
  extern "int mproc_struct_get(void *made, const char *member, int64_t *value)"
  extern "int mproc_struct_set_pointer(void *made, const char *member, void *value)"
  extern "int mproc_pool_map(void *pool, void *fn, void *ctx, void *in, size_t in_size, void *out, " \
         "size_t out_size, size_t count, void *options)"
  extern "int mproc_pool_map_bytes(void *pool, void *fn, void *ctx, void *inputs, size_t count, " \
         "void **results, void *options)"
  extern "int mproc_pool_call(void *pool, void *fn, void *ctx, void *in, size_t in_size, void *out, " \
         "size_t out_size, size_t *length, void *options)"
  extern "void mproc_pool_destroy(void *pool)"
  extern "int mproc_results_get(void *results, size_t index, void **data, size_t *length)"
  extern "void mproc_results_free(void *results)"
  extern "const char *mproc_strerror(int error)"

  CREATE = Fiddle::Function.new(handler["mproc_pool_create"],
                                [Fiddle::TYPE_VOIDP, Fiddle::TYPE_INT, Fiddle::TYPE_VOIDP],
                                Fiddle::TYPE_INT, need_gvl: true)

  module_function

  def words(error) = mproc_strerror(error).to_s

  def check(result)
    raise words(result) if result.negative?
    result
  end

  # What a call writes through a pointer to a pointer or a 64-bit number.
  def out
    place = [0].pack("q")
    check(yield(place))
    place.unpack1("q")
  end

  def load(symbol) = out { |function| mproc_function_load(LIBTASKS, symbol, function) }

  def struct(type, members = {})
    made = out { |place| mproc_struct_new(type, place) }
    members.each do |name, value|
      set = value.is_a?(Integer) ? :mproc_struct_set : :mproc_struct_set_pointer
      check(send(set, made, name.to_s, value))
    end
    made
  end

  def member(struct, name) = out { |value| mproc_struct_get(struct, name, value) }
end

square = Class.new(Fiddle::Closure) do
  def call(given, result, _ctx)
    result[0, 8] = [given[0, 8].unpack1("q")**2].pack("q")
    0
  end
end.new(Fiddle::TYPE_INT, [Fiddle::TYPE_VOIDP] * 3)
repeat, inverse, hang = %w[repeat inverse hang].map { |symbol| Mproc.load(symbol) }
atfork = Fiddle::Pointer.new(Fiddle::Handle::DEFAULT["rb_thread_atfork"])
options = Mproc.struct("mproc_pool_options", keep_descriptors: 1, child_fork: atfork)
pool = Mproc.out { |place| Mproc::CREATE.call(place, 2, options) }

numbers = [1, 2, 3, 4, 5].pack("q*")
squares = [0].pack("q") * 5
Mproc.check Mproc.mproc_pool_map(pool, square, nil, numbers, 8, squares, 8, 5, nil)
puts "squares: #{squares.unpack("q*").join(" ")}"

strings = %w[a bc def]
inputs = strings.flat_map { |string| [Fiddle::Pointer[string].to_i, string.bytesize] }.pack("J*")
results = Mproc.out { |place| Mproc.mproc_pool_map_bytes(pool, repeat, nil, inputs, 3, place, nil) }
repeated = strings.each_index.map do |i|
  length = [0].pack("J")
  data = Mproc.out { |place| Mproc.mproc_results_get(results, i, place, length) }
  Fiddle::Pointer.new(data)[0, length.unpack1("J")]
end
Mproc.mproc_results_free(results)
puts "strings: #{repeated.join(" ")}"

numbers = [4, 0, 2].pack("q*")
inverses = [0].pack("q") * 3
statuses = [0].pack("l") * 3
failure = Mproc.struct("mproc_failure")
options = Mproc.struct("mproc_map_options", statuses: Fiddle::Pointer[statuses], failure: Fiddle::Pointer.new(failure))
Mproc.check Mproc.mproc_pool_map(pool, inverse, nil, numbers, 8, inverses, 8, 3, options)
shown = inverses.unpack("q*").zip(statuses.unpack("l*")).map { |number, status| status.zero? ? number : "?" }
puts "inverses: #{shown.join(" ")}"
puts "item #{Mproc.member(failure, "index")}: #{Mproc.words(Mproc.member(failure, "error"))} " \
     "(signal #{Mproc.member(failure, "signal")})"

options = Mproc.struct("mproc_submit_options", time_limit_ms: 100)
puts "hang: #{Mproc.words(Mproc.mproc_pool_call(pool, hang, nil, nil, 0, nil, 0, nil, options))}"
Mproc.mproc_pool_destroy(pool)
