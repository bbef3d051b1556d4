# SPDX-License-Identifier: MIT
#
# closures.pl LIBMPROC: what the README says of Perl's closures, by FFI::Platypus: one that was made
# before the pool runs in the workers; one that was made later is refused, also when it lies beside an
# earlier one, until a restart.
use strict;
use warnings;
use FFI::Platypus 1.00;
use FFI::Platypus::Buffer qw(scalar_to_buffer buffer_to_scalar);
use FFI::Platypus::Memory qw(memcpy);

my $ffi = FFI::Platypus->new(api => 1, lib => $ARGV[0]);
$ffi->type('(opaque, opaque, opaque)->sint32' => 'map_fn');
$ffi->attach_cast(function_of => 'map_fn' => 'opaque');
$ffi->attach(mproc_pool_create => ['opaque*', 'sint32', 'opaque'] => 'int');
$ffi->attach(mproc_pool_restart => ['opaque'] => 'int');
$ffi->attach(mproc_pool_destroy => ['opaque'] => 'void');
$ffi->attach(mproc_constant => ['string', 'sint64*'] => 'int');
$ffi->attach(mproc_pool_map =>
    ['opaque', 'opaque', ('opaque') x 2, 'size_t', 'opaque', 'size_t', 'size_t', 'opaque'] => 'int');

sub constant {
    mproc_constant($_[0], \my $value) and die $_[0];
    return $value;
}

my @kept;

sub power {
    my ($exponent) = @_;
    push @kept, $ffi->closure(sub {
        my ($given, $result) = @_;
        my $bytes = pack 'q', unpack('q', buffer_to_scalar($given, 8)) ** $exponent;
        memcpy($result, (scalar_to_buffer($bytes))[0], 8);
        return 0;
    });
    return function_of($kept[-1]);
}

# The results for 1, 2 and 3, or the error.
sub map_numbers {
    my ($pool, $function) = @_;
    my ($numbers, $results) = (pack('q*', 1, 2, 3), pack('q*', 0, 0, 0));
    my $result = mproc_pool_map($pool, $function, undef, (scalar_to_buffer($numbers))[0], 8,
        (scalar_to_buffer($results))[0], 8, 3, undef);
    return $result < 0 ? $result : join ' ', unpack 'q*', $results;
}

sub expect {
    my ($what, $got, $due) = @_;
    die "$what: $got instead of $due\n" if $got ne $due;
}

my $early = power(2);
mproc_pool_create(\my $pool, 2, undef) and die 'create';
my @late = map { power(3) } 1 .. 300;
expect('an early closure', map_numbers($pool, $early), '1 4 9');
expect('a late closure', map_numbers($pool, $late[0]), constant('MPROC_EFUNC'));
expect('the last of many', map_numbers($pool, $late[-1]), constant('MPROC_EFUNC'));
mproc_pool_restart($pool) and die 'restart';
expect('after a restart', map_numbers($pool, $late[-1]), '1 8 27');
expect('the early one still', map_numbers($pool, $early), '1 4 9');
mproc_pool_destroy($pool);
