# SPDX-License-Identifier: MIT
#
# closures.rb LIBMPROC: what the README says of Ruby's closures, by Fiddle.
#
# - One that was made before the pool runs in the workers; one that was made later is refused, also when
#   it lies beside an earlier one, until a restart.
# - With other threads running, a pool that is created with need_gvl: true works each time, if the
#   workers keep Ruby's descriptors and Ruby is told of the fork.
require "fiddle/import"

LIB = Fiddle.dlopen(ARGV[0])
VOIDP = Fiddle::TYPE_VOIDP
INT = Fiddle::TYPE_INT
SIZE = Fiddle::TYPE_SIZE_T

def function(name, arguments, result = INT, **options)
  Fiddle::Function.new(LIB[name], arguments, result, **options)
end

CREATE = function("mproc_pool_create", [VOIDP, INT, VOIDP], need_gvl: true)
RESTART = function("mproc_pool_restart", [VOIDP], need_gvl: true)
MAP = function("mproc_pool_map", [VOIDP, VOIDP, VOIDP, VOIDP, SIZE, VOIDP, SIZE, SIZE, VOIDP])
DESTROY = function("mproc_pool_destroy", [VOIDP], Fiddle::TYPE_VOID)
CONSTANT = function("mproc_constant", [VOIDP, VOIDP])

def constant(name)
  value = [0].pack("q")
  raise name unless CONSTANT.call(name, value).zero?
  value.unpack1("q")
end

STRUCT_NEW = function("mproc_struct_new", [VOIDP, VOIDP])
STRUCT_SET = function("mproc_struct_set", [VOIDP, VOIDP, Fiddle::TYPE_LONG_LONG])
STRUCT_SET_POINTER = function("mproc_struct_set_pointer", [VOIDP, VOIDP, VOIDP])

def make_options
  made = [0].pack("J")
  raise "struct" unless STRUCT_NEW.call("mproc_pool_options", made).zero?
  options = made.unpack1("J")
  hook = Fiddle::Handle::DEFAULT["rb_thread_atfork"]
  raise "set" unless STRUCT_SET.call(options, "keep_descriptors", 1).zero?
  raise "set" unless STRUCT_SET_POINTER.call(options, "child_fork", hook).zero?
  options
end
OPTIONS = make_options

def create_pool
  pool = [0].pack("J")
  raise "create" unless CREATE.call(pool, 2, OPTIONS).zero?
  pool.unpack1("J")
end

class Power < Fiddle::Closure
  def initialize(exponent)
    super(INT, [VOIDP] * 3)
    @exponent = exponent
  end

  def call(given, result, _ctx)
    result[0, 8] = [given[0, 8].unpack1("q")**@exponent].pack("q")
    0
  end
end

# The results for 1, 2 and 3, or the error.
def map_numbers(pool, closure)
  results = [0, 0, 0].pack("q*")
  result = MAP.call(pool, closure, nil, [1, 2, 3].pack("q*"), 8, results, 8, 3, nil)
  result.negative? ? result : results.unpack("q*")
end

def expect(what, got, due)
  raise "#{what}: #{got} instead of #{due}" if got != due
end

early = Power.new(2)
pool = create_pool
late = Array.new(300) { Power.new(3) }
expect("an early closure", map_numbers(pool, early), [1, 4, 9])
expect("a late closure", map_numbers(pool, late.first), constant("MPROC_EFUNC"))
expect("the last of many", map_numbers(pool, late.last), constant("MPROC_EFUNC"))
raise "restart" unless RESTART.call(pool).zero?
expect("after a restart", map_numbers(pool, late.last), [1, 8, 27])
expect("the early one still", map_numbers(pool, early), [1, 4, 9])
DESTROY.call(pool)

stop = false
lock = Mutex.new
busy = Array.new(3) do
  Thread.new do
    until stop
      lock.synchronize { Array.new(100).to_s }
      Thread.pass
    end
  end
end
20.times do
  pool = create_pool
  answers = Array.new(2) { Thread.new { map_numbers(pool, early) } }.map(&:value)
  expect("with threads", answers, [[1, 4, 9]] * 2)
  DESTROY.call(pool)
end
stop = true
busy.each(&:join)
