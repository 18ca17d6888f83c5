#!/bin/sh
# Goal: switching stacks works on aarch64, as far as a cross compiler and qemu can tell.
cd "$(dirname "$0")/../.." || exit 1
if ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    echo 'SKIP lib/io/switch.S on aarch64: needs gcc-aarch64-linux-gnu and qemu-user'
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
fi
mkdir -p build/aarch64
aarch64-linux-gnu-gcc -D_GNU_SOURCE -Ilib -std=gnu11 -g -O2 -fexceptions -Wall -Wextra -static \
    -o build/aarch64/switch tests/aarch64/switch.c lib/io/switch.S && qemu-aarch64 build/aarch64/switch
