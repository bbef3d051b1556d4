#!/usr/bin/env perl
# SPDX-License-Identifier: MIT
#
# libmproc from Perl, by FFI::Platypus.
#
#   perl tour.pl [LIBMPROC [LIBTASKS]]
#
# A sub runs in the workers if it is made into a closure before the pool: the cast does that, which
# otherwise comes with the first call that the closure is given to.
use strict;
use warnings;
use FFI::Platypus 1.00;
use FFI::Platypus::Buffer qw(scalar_to_buffer buffer_to_scalar);
use FFI::Platypus::Memory qw(memcpy);

my ($libmproc, $libtasks) = @ARGV;
$libmproc //= 'libmproc.so.0';
$libtasks //= './libtasks.so';

my $ffi = FFI::Platypus->new(api => 1, lib => $libmproc);
$ffi->type('(opaque, opaque, opaque)->sint32' => 'map_fn');
$ffi->attach_cast(function_of => 'map_fn' => 'opaque');
$ffi->attach(mproc_function_load => ['string', 'string', 'opaque*'] => 'int');
$ffi->attach(mproc_struct_new => ['string', 'opaque*'] => 'int');
$ffi->attach(mproc_struct_set => ['opaque', 'string', 'sint64'] => 'int');
$ffi->attach(mproc_struct_get => ['opaque', 'string', 'sint64*'] => 'int');
$ffi->attach(mproc_struct_set_pointer => ['opaque', 'string', 'opaque'] => 'int');
$ffi->attach(mproc_pool_create => ['opaque*', 'sint32', 'opaque'] => 'int');
$ffi->attach(mproc_pool_destroy => ['opaque'] => 'void');
$ffi->attach(mproc_pool_map =>
    ['opaque', 'opaque', ('opaque') x 2, 'size_t', 'opaque', 'size_t', 'size_t', 'opaque'] => 'int');
$ffi->attach(mproc_pool_map_bytes =>
    ['opaque', 'opaque', ('opaque') x 2, 'size_t', 'opaque*', 'opaque'] => 'int');
$ffi->attach(mproc_pool_call =>
    ['opaque', 'opaque', ('opaque') x 2, 'size_t', 'opaque', 'size_t', 'opaque', 'opaque'] => 'int');
$ffi->attach(mproc_results_get => ['opaque', 'size_t', 'opaque*', 'size_t*'] => 'int');
$ffi->attach(mproc_results_free => ['opaque'] => 'void');
$ffi->attach(mproc_strerror => ['int'] => 'string');

sub check {
    my ($result) = @_;
    die mproc_strerror($result), "\n" if $result < 0;
    return $result;
}

# The address of what a scalar holds; of packed numbers, that is an array of C.
sub address { return (scalar_to_buffer($_[0]))[0] }

sub load {
    check(mproc_function_load($libtasks, $_[0], \my $function));
    return $function;
}

sub new_struct {
    my ($type, %numbers) = @_;
    check(mproc_struct_new($type, \my $made));
    check(mproc_struct_set($made, $_, $numbers{$_})) for keys %numbers;
    return $made;
}

sub member {
    my ($struct, $name) = @_;
    check(mproc_struct_get($struct, $name, \my $value));
    return $value;
}

my $closure = $ffi->closure(sub {
    my ($given, $result) = @_;
    my $number = unpack 'q', buffer_to_scalar($given, 8);
    my $bytes = pack 'q', $number * $number;
    memcpy($result, address($bytes), 8);
    return 0;
});
my $square = function_of($closure);
my ($repeat, $inverse, $hang) = map { load($_) } qw(repeat inverse hang);
check(mproc_pool_create(\my $pool, 2, undef));

my $numbers = pack 'q*', 1 .. 5;
my $squares = pack 'q*', (0) x 5;
check(mproc_pool_map($pool, $square, undef, address($numbers), 8, address($squares), 8, 5, undef));
print "squares: @{[unpack 'q*', $squares]}\n";

my @strings = qw(a bc def);
my $inputs = pack 'J*', map { scalar_to_buffer($_) } @strings;
check(mproc_pool_map_bytes($pool, $repeat, undef, address($inputs), 3, \my $results, undef));
my @repeated = map {
    check(mproc_results_get($results, $_, \my $data, \my $length));
    buffer_to_scalar($data, $length);
} 0 .. 2;
mproc_results_free($results);
print "strings: @repeated\n";

$numbers = pack 'q*', 4, 0, 2;
my $inverses = pack 'q*', (0) x 3;
my $statuses = pack 'l*', (0) x 3;
my $failure = new_struct('mproc_failure');
my $options = new_struct('mproc_map_options');
check(mproc_struct_set_pointer($options, 'statuses', address($statuses)));
check(mproc_struct_set_pointer($options, 'failure', $failure));
check(mproc_pool_map($pool, $inverse, undef, address($numbers), 8, address($inverses), 8, 3, $options));
my @statuses = unpack 'l*', $statuses;
my @inverses = unpack 'q*', $inverses;
print "inverses: @{[map { $statuses[$_] ? '?' : $inverses[$_] } 0 .. 2]}\n";
printf "item %d: %s (signal %d)\n", member($failure, 'index'),
    mproc_strerror(member($failure, 'error')), member($failure, 'signal');

$options = new_struct('mproc_submit_options', time_limit_ms => 100);
my $error = mproc_pool_call($pool, $hang, undef, undef, 0, undef, 0, undef, $options);
print 'hang: ', mproc_strerror($error), "\n";
mproc_pool_destroy($pool);
