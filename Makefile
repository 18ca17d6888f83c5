# tornadod: one Makefile, no recursion.
#
#   make                       build/tornadod, build/libtornado.so.1, build/handlers/*.so
#   make run                   the same, then serve on 127.0.0.1:8888
#   make test [T=name]         build and run all tests, or those whose name has T in it
#   make SAN=address,undefined test
#   make bench [T=row]         against nginx, h2o, lighttpd, Kore and Tornado
#   make install DESTDIR= PREFIX=/usr/local
#
# A new .c file needs no edit here.

VERSION := 0.1.0
PREFIX ?= /usr/local
CC ?= cc
MAKEFLAGS += -j$(shell nproc) --no-builtin-rules
.SECONDARY:
.DELETE_ON_ERROR:

ifdef SAN
B := build/san
SAN_FLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
OPTIMISE ?= -O1
else
B := build
OPTIMISE ?= -O2
FORTIFY := -D_FORTIFY_SOURCE=2
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wvla -Wformat=2 -Wundef -Wwrite-strings
HARDEN := -fstack-protector-strong -fstack-clash-protection -Wformat -Werror=format-security
CPPFLAGS_ALL := -D_GNU_SOURCE $(FORTIFY) -DTD_VERSION='"$(VERSION)"' -Ilib -I. $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPTIMISE) -g -fPIC -fvisibility=hidden -fexceptions -fno-plt \
              -fno-semantic-interposition -MMD -MP $(WARNINGS) $(HARDEN) $(SAN_FLAGS) $(CFLAGS)
LDFLAGS_ALL := -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed $(SAN_FLAGS) $(LDFLAGS)
LIBS := -lev -lhttp_parser -linih -lpcre2-8 -lxxhash -lpthread -lm -ldl

LIB_C := $(wildcard lib/*/*.c)
LIB_S := $(wildcard lib/*/*.S)
LIB_O := $(LIB_C:%.c=$B/obj/%.o) $(LIB_S:%.S=$B/obj/%.o)
DAEMON_O := $(patsubst %.c,$B/obj/%.o,$(wildcard daemon/*.c))
HANDLERS := $(patsubst daemon/handlers/%.c,$B/handlers/%.so,$(wildcard daemon/handlers/*.c))
TEST_HANDLERS := $(patsubst tests/handlers/%.c,$B/tests/handlers/%.so,$(wildcard tests/handlers/*.c))
UNIT := $(patsubst tests/unit/%.c,$B/tests/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all
all: $B/tornadod $B/libtornado.so.1 $(HANDLERS)

$B/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -c -o $@ $<
$B/obj/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -c -o $@ $<

# The archive is for the unit tests: it reaches what the shared library hides.
$B/libtornado.a: $(LIB_O)
	@rm -f $@
	ar rcs $@ $^

# Symbol versions, from the TD_API and TD_PRIVATE marks of the headers.
$B/libtornado.map: $(wildcard lib/*/*.h) Makefile
	@mkdir -p $(@D)
	@{ echo 'TORNADO_1.0 { global:'; \
	   sed -nE 's/^TD_API .*[ *]((td_|tornado_)[a-z0-9_]+)(\(.*|;|\[.*)$$/\1;/p' lib/tornado/*.h | sort -u; \
	   echo 'local: *; };'; echo 'TORNADO_PRIVATE { global:'; \
	   sed -nE -e 's/^TD_PRIVATE extern .*\(\*(td_[a-z0-9_]+)\)\(.*$$/\1;/p;t' \
	       -e 's/^TD_PRIVATE [^(]*[ *](td_[a-z0-9_]+)(\(.*|;|\[.*)$$/\1;/p' lib/*/*.h | sort -u; \
	   echo '};'; } > $@

$B/libtornado.so.1: $(LIB_O) $B/libtornado.map
	$(CC) -shared -Wl,-soname,libtornado.so.1 -Wl,--version-script=$B/libtornado.map \
	    -Wl,-Bsymbolic -Wl,-z,defs $(LDFLAGS_ALL) -o $@ $(LIB_O) $(LIBS)

$B/libtornado.so: $B/libtornado.so.1
	ln -sf libtornado.so.1 $@

$B/tornadod: $(DAEMON_O) $B/libtornado.so
	$(CC) -pie $(LDFLAGS_ALL) -Wl,-rpath,'$$ORIGIN' -o $@ $(DAEMON_O) -L$B -ltornado $(LIBS)

HANDLER_FLAGS = -D_GNU_SOURCE $(FORTIFY) -Ilib -std=gnu11 $(OPTIMISE) -g -fPIC -fexceptions -MMD -MP \
                $(WARNINGS) $(HARDEN) $(SAN_FLAGS) $(CFLAGS) -shared $(LDFLAGS_ALL)
$B/handlers/%.so: daemon/handlers/%.c $B/libtornado.so
	@mkdir -p $(@D)
	$(CC) $(HANDLER_FLAGS) -Wl,-rpath,'$$ORIGIN/..' -o $@ $< -L$B -ltornado
$B/tests/handlers/%.so: tests/handlers/%.c $B/libtornado.so
	@mkdir -p $(@D)
	$(CC) $(HANDLER_FLAGS) -o $@ $< -L$B -ltornado

$B/tests/unit/%: tests/unit/%.c $B/libtornado.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -pie $(LDFLAGS_ALL) -o $@ $< $B/libtornado.a $(LIBS) \
	    -lcheck -lsubunit -lrt

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $B -name '*.d' 2>/dev/null)
