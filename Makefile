# tornadod: one Makefile, no recursion.
#
#   make                       build/tornadod, build/libtornado.so.1, build/handlers/*.so
#   make run                   the same, then serve on 127.0.0.1:8888
#   make test [T=name]         build and run all tests, or those whose name has T in it
#   make SAN=address,undefined test
#   make faults [T=word]       what it survives: every scenario, one table
#   make fuzz [T=name] [FUZZ_SECONDS=60]
#   make bench [T=row]         against nginx, h2o, lighttpd, Kore and Tornado
#   make install DESTDIR= PREFIX=/usr/local
#   make uninstall             all of that but what is configured
#   make clean                 removes build/
#   make V=1                   says every command
#
# All of them use every core and install what is missing first (on Debian, see .ci/packages).  A new
# .c file needs no edit here; a second make does nothing.

VERSION := 0.1.0
PREFIX ?= /usr/local
CC ?= cc
CXX ?= c++
PYTHON := /usr/bin/python3
MAKEFLAGS += -j$(shell nproc) --no-builtin-rules
.SECONDARY:
.DELETE_ON_ERROR:

BUILD_PACKAGES := gcc libc6-dev libcrypt-dev pkg-config libev-dev libhttp-parser-dev libinih-dev \
                  libpcre2-dev libxxhash-dev libjansson-dev libssl-dev zlib1g-dev libbrotli-dev libzstd-dev \
                  libc-ares-dev
TEST_PACKAGES := check libsubunit-dev python3 python3-tornado g++ curl gdb strace valgrind \
                 nginx-light libnginx-mod-stream haproxy brotli zstd openssl gunicorn systemd logrotate
FUZZ_PACKAGES := clang
BENCH_PACKAGES := python3 nginx-light h2o lighttpd kore python3-tornado librsvg2-bin

# ---- flags

ASAN := address,undefined
comma := ,
ifeq ($(SAN),)
B := build
else ifeq ($(SAN),$(ASAN))
B := build/san
else
B := build/san-$(subst $(comma),-,$(SAN))
endif

# On x86 gcc clears a struct by an instruction that takes longer to start than stores in a row.
STORES := -mmemset-strategy=vector_loop:2048:noalign,libcall:-1:noalign \
          -mmemcpy-strategy=vector_loop:512:noalign,libcall:-1:noalign
STORES := $(shell $(CC) $(STORES) -E -x c /dev/null >/dev/null 2>&1 && echo $(STORES))
RELEASE_FLAGS := -O2 -D_FORTIFY_SOURCE=2 $(STORES)
SAN_FLAGS = -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=$(or $(SAN),$(ASAN))
FUZZ_FLAGS := -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all \
              -fsanitize=fuzzer-no-link,$(ASAN)

WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wvla -Wformat=2 -Wundef -Wwrite-strings
WARNINGS_C := $(WARNINGS) -Wstrict-prototypes -Wmissing-prototypes
HARDEN := -fstack-protector-strong -fstack-clash-protection -Wformat -Werror=format-security
COMMON := -g -fPIC -fexceptions -MMD -MP $(HARDEN)
CPPFLAGS_ALL := -D_GNU_SOURCE -DTD_VERSION='"$(VERSION)"' -Ilib -I. $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(COMMON) $(WARNINGS_C) -fvisibility=hidden -fno-plt \
              -fno-semantic-interposition $(CFLAGS)
HANDLER_C := -D_GNU_SOURCE -Ilib -std=gnu11 $(COMMON) $(WARNINGS_C) $(CPPFLAGS) $(CFLAGS)
HANDLER_CXX := -D_GNU_SOURCE -Ilib -std=gnu++20 $(COMMON) $(WARNINGS) $(CPPFLAGS) $(CXXFLAGS)
LDFLAGS_ALL := -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed $(LDFLAGS)
HANDLER_LIBS := -lcrypt -lcrypto -lpthread # of those of ours that want them
LIBS := -lev -lhttp_parser -linih -lpcre2-8 -lxxhash -ljansson -lz -lbrotlienc -lbrotlidec -lzstd \
        -lcares -lssl -lcrypto -lpthread -lm -ldl

RUN = $(if $V,,@echo '    $@';)

# ---- what there is to build

LIB := $(basename $(wildcard lib/*/*.c lib/*/*.S))
CHAPTERS := site status worker master commands # of the daemon
DAEMON := $(basename $(wildcard daemon/*.c $(CHAPTERS:%=daemon/%/*.[cS])))
TESTING := $(basename $(wildcard daemon/testing/*.c))
HANDLER_FOLDERS := $(notdir $(patsubst %/,%,$(wildcard daemon/handlers/*/))) # of several files
HANDLERS := $(patsubst daemon/handlers/%.c,handlers/%.so,$(wildcard daemon/handlers/*.c)) \
            $(HANDLER_FOLDERS:%=handlers/%.so)
TEST_HANDLERS := $(addsuffix .so,$(basename $(wildcard tests/handlers/*.c tests/handlers/*.cc)))
# By the last word of T, which may name a suite as its results do: san/unit/headers.
word_of_T := $(notdir $(T:%/=%))
chosen = $(foreach file,$(wildcard $1),$(if $T,$(if $(findstring $(word_of_T),$(file)),$(file)),$(file)))
UNITS := $(basename $(call chosen,tests/unit/test_*.c))
FUZZERS := $(basename $(call chosen,tests/fuzz/fuzz_*.c))

.PHONY: all
all: $B/tornadod $B/libtornado.so.1 $B/libtornado-test.so $(HANDLERS:%=$B/%) \
     $(addprefix $B/pkgconfig/,tornado.pc tornado-test.pc)

build/.packages-%: .ci/packages Makefile
	@mkdir -p build
	@flock build .ci/packages $($(shell echo $* | tr a-z A-Z)_PACKAGES)
	@touch $@

# A bundled handler that has a folder is all that lies there.
define FOLDER_HANDLER
$1/handlers/$4.so: $(patsubst %.c,$1/obj/%.o,$(wildcard daemon/handlers/$4/*.c)) $1/libtornado.so
	@mkdir -p $$(@D)
	$$(RUN)$2 -shared $$(LDFLAGS_ALL) $3 -o $$@ $$(filter %.o,$$^) -L$1 -ltornado $$(HANDLER_LIBS)
endef

# One that has moved there is still named by what an earlier build has noted.
daemon/handlers/%.c: ;

# The rules of one flavour: all under the directory $1, made by the compiler $2 with the flags $3.
define FLAVOUR
$1/obj/%.o: %.c Makefile | build/.packages-build
	@mkdir -p $$(@D)
	$$(RUN)$2 $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) $3 -c -o $$@ $$<
$1/obj/%.o: %.S Makefile | build/.packages-build
	@mkdir -p $$(@D)
	$$(RUN)$2 $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) $3 -c -o $$@ $$<

$1/obj/lib/web/mimetable.o: conf/mime.types
$1/obj/daemon/commands/new_templates.o: $$(wildcard daemon/commands/*.in)

# The archive is for the unit tests: it reaches what the shared library hides.
$1/libtornado.a: $$(LIB:%=$1/obj/%.o)
	@rm -f $$@
	$$(RUN)ar rcs $$@ $$^
$1/libtornado.so.1: $$(LIB:%=$1/obj/%.o) build/libtornado.map
	$$(RUN)$2 -shared -Wl,-soname,libtornado.so.1 -Wl,--version-script=build/libtornado.map \
	    -Wl,--no-undefined-version -Wl,-Bsymbolic -Wl,-z,defs $$(LDFLAGS_ALL) $3 -o $$@ \
	    $$(LIB:%=$1/obj/%.o) $$(LIBS)
$1/libtornado.so: $1/libtornado.so.1
	$$(RUN)ln -sf libtornado.so.1 $$@

# It finds its library beside itself, or in ../lib once it is installed.
$1/tornadod: $$(DAEMON:%=$1/obj/%.o) $1/libtornado.so
	$$(RUN)$2 -fPIE -pie $$(LDFLAGS_ALL) -Wl,-rpath,'$$$$ORIGIN:$$$$ORIGIN/../lib' $3 -o $$@ \
	    $$(DAEMON:%=$1/obj/%.o) -L$1 -ltornado $$(LIBS)

$1/handlers/%.so: daemon/handlers/%.c Makefile $1/libtornado.so
	@mkdir -p $$(@D)
	$$(RUN)$2 -shared $$(HANDLER_C) $$(LDFLAGS_ALL) $3 -o $$@ $$< -L$1 -ltornado $$(HANDLER_LIBS)
$(foreach folder,$(HANDLER_FOLDERS),$(eval $(call FOLDER_HANDLER,$1,$2,$3,$(folder))))
$1/tests/handlers/%.so: tests/handlers/%.c Makefile $1/libtornado.so
	@mkdir -p $$(@D)
	$$(RUN)$2 -shared $$(HANDLER_C) $$(LDFLAGS_ALL) $3 -o $$@ $$< -L$1 -ltornado
$1/tests/handlers/%.so: tests/handlers/%.cc Makefile $1/libtornado.so | build/.packages-test
	@mkdir -p $$(@D)
	$$(RUN)$$(CXX) -shared $$(HANDLER_CXX) $$(LDFLAGS_ALL) $3 -o $$@ $$< -L$1 -ltornado

$1/tests/unit/%: tests/unit/%.c Makefile $1/libtornado.a | build/.packages-test
	@mkdir -p $$(@D)
	$$(RUN)$2 $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) -pie $$(LDFLAGS_ALL) $3 -o $$@ $$< $1/libtornado.a \
	    -lcheck -lsubunit -lrt $$(LIBS)

# The daemon's own parts, all but its main.  Appended (q), since two files may have one name.
$1/daemon.a: $$(DAEMON:%=$1/obj/%.o)
	@rm -f $$@
	$$(RUN)ar qcs $$@ $$(filter-out %/main.o,$$^)
$1/tests/unit/test_daemon_%: tests/unit/test_daemon_%.c Makefile $1/daemon.a $1/libtornado.a \
                             | build/.packages-test
	@mkdir -p $$(@D)
	$$(RUN)$2 $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) -pie $$(LDFLAGS_ALL) $3 -o $$@ $$< $1/daemon.a \
	    $1/libtornado.a -lcheck -lsubunit -lrt $$(LIBS)

# For the tests of those who write handlers: a worker without a master, see <tornado/testing.h>.
$1/libtornado-test.so.1: $$(TESTING:%=$1/obj/%.o) $1/daemon.a $1/libtornado.so build/libtornado-test.map
	$$(RUN)$2 -shared -Wl,-soname,libtornado-test.so.1 \
	    -Wl,--version-script=build/libtornado-test.map -Wl,--no-undefined-version -Wl,-Bsymbolic \
	    -Wl,-z,defs $$(LDFLAGS_ALL) -Wl,-rpath,'$$$$ORIGIN' $3 -o $$@ $$(TESTING:%=$1/obj/%.o) \
	    $1/daemon.a -L$1 -ltornado $$(LIBS)
$1/libtornado-test.so: $1/libtornado-test.so.1
	$$(RUN)ln -sf libtornado-test.so.1 $$@
$1/tests/unit/test_testing: tests/unit/test_testing.c Makefile $1/libtornado-test.so \
                            | build/.packages-test
	@mkdir -p $$(@D)
	$$(RUN)$2 $$(HANDLER_C) -pie $$(LDFLAGS_ALL) -Wl,-rpath,'$$$$ORIGIN/../..' $3 -o $$@ $$< -L$1 \
	    -ltornado-test -ltornado -lcheck -lsubunit -lrt -lm

# A fuzz driver that runs the files it is given, with or without libFuzzer.
$1/tests/fuzz/%: tests/fuzz/%.c $1/obj/tests/fuzz/replay.o Makefile $1/libtornado.a
	@mkdir -p $$(@D)
	$$(RUN)$2 $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) -pie $$(LDFLAGS_ALL) $3 -o $$@ $$< \
	    $1/obj/tests/fuzz/replay.o $1/libtornado.a $$(LIBS)
endef

$(eval $(call FLAVOUR,build,$(CC),$(RELEASE_FLAGS)))
$(eval $(call FLAVOUR,build/san,$(CC),$(SAN_FLAGS)))
$(eval $(call FLAVOUR,build/ucontext,$(CC),$(RELEASE_FLAGS) -DTD_SWITCH_UCONTEXT))
$(if $(filter build build/san,$B),,$(eval $(call FLAVOUR,$B,$(CC),$(SAN_FLAGS))))

# This one tells valgrind of its stacks if valgrind's header is there, which the tests install.
ifneq ($(filter test,$(MAKECMDGOALS)),)
$B/obj/lib/io/stack.o: build/.packages-test
endif

# Symbol versions, from the TD_API and TD_PRIVATE marks of the headers.
build/libtornado.map: lib/symbols.awk $(wildcard lib/*/*.h)
	@mkdir -p $(@D)
	@{ echo 'TORNADO_1.0 { global:'; awk -v mark=TD_API -f lib/symbols.awk lib/tornado/*.h; \
	   echo 'local: *; };'; \
	   echo 'TORNADO_PRIVATE { global:'; awk -v mark=TD_PRIVATE -f lib/symbols.awk lib/*/*.h; \
	   echo '};'; } > $@

# What an installation has, for handlers that are built against the build tree.
$B/pkgconfig/%.pc: INCLUDEDIR = $(CURDIR)/lib
$B/pkgconfig/%.pc: LIBDIR = $(abspath $B)
$B/pkgconfig/%.pc: HANDLERDIR = $(abspath $B)/handlers
$B/pkgconfig/%.pc: lib/tornado/%.pc.in Makefile
	@mkdir -p $(@D)
	@$(FILL_IN) $< > $@

build/libtornado-test.map: lib/symbols.awk lib/tornado/testing.h
	@mkdir -p $(@D)
	@{ echo 'TORNADO_TEST_1.0 { global:'; awk -v mark=TD_TEST_API -f lib/symbols.awk \
	   lib/tornado/testing.h; echo 'local: *; };'; } > $@

# ---- running it

# In the foreground of a terminal it is a job of its own: Ctrl-C then reaches the daemon and not make,
# which would end by it and call the drain a failure.
.PHONY: run
run: all
	@echo 'Try these; Ctrl-C drains and stops:'
	@echo '    curl http://127.0.0.1:8888/'
	@echo '    curl http://127.0.0.1:8888/hello/world'
	@echo '    curl http://127.0.0.1:8888/index/1/2'
	@read -r _ _ _ _ group _ _ foreground _ < /proc/self/stat; \
	if [ $$group = $$foreground ]; then set -m; trap '' TSTP; fi; \
	$B/tornadod

# Units, fuzz corpora and the conformance tables also run under the sanitizers, the rest does with
# SAN=address,undefined; coroutines also with the switch for other processors.
SANITIZED := $(FUZZERS) $(UNITS) tornadod tests/handlers/conformance.so
TESTS := $(UNITS:%=$B/%) $(TEST_HANDLERS:%=$B/%) $(SANITIZED:%=build/san/%) \
         $(addprefix build/ucontext/,$(filter tests/unit/test_coroutine,$(UNITS)))

.PHONY: test
test: build/.packages-test all $(TESTS)
	@TD_LIBS="$(LIBS)" $(PYTHON) tests/run --build=$B $T

.PHONY: faults
faults: build/.packages-test all $(TEST_HANDLERS:%=$B/%)
	@TD_BUILD=$(abspath $B) $(PYTHON) tests/faults/run.py $T

.PHONY: bench
bench: build/.packages-bench all $B/libtornado.a $B/tests/handlers/attacks.so
	@TD_LIBS="$(LIBS)" $(PYTHON) tests/bench/run.py $T

# libFuzzer drivers; what they find worth keeping goes into the corpus.
FUZZ_SECONDS ?= 60
build/fuzz/%: tests/fuzz/fuzz_%.c $(LIB:%=build/fuzz/obj/%.o)
	$(RUN)clang $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(FUZZ_FLAGS) -fsanitize=fuzzer -pie $(LDFLAGS_ALL) \
	    -o $@ $(filter %.c %.o,$^) $(LIBS)
build/fuzz/obj/lib/web/mimetable.o: conf/mime.types
build/fuzz/obj/%.o: %.c Makefile | build/.packages-build build/.packages-fuzz
	@mkdir -p $(@D)
	$(RUN)clang $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(FUZZ_FLAGS) -c -o $@ $<
build/fuzz/obj/%.o: %.S Makefile | build/.packages-build build/.packages-fuzz
	@mkdir -p $(@D)
	$(RUN)clang $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(FUZZ_FLAGS) -c -o $@ $<

.PHONY: fuzz
fuzz: $(FUZZERS:tests/fuzz/fuzz_%=fuzz-%)
fuzz-%: build/fuzz/%
	@mkdir -p build/fuzz/corpus/$*
	build/fuzz/$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 \
	    build/fuzz/corpus/$* $(wildcard tests/fuzz/corpus/$*)

# ---- installing

SYSTEMD_UNITS := tornadod.service tornadod@.service tornadod.socket
SBINDIR := $(PREFIX)/sbin
LIBDIR := $(PREFIX)/lib
SYSCONFDIR := $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)/tornadod
LOGROTATEDIR := $(dir $(SYSCONFDIR))logrotate.d
MANDIR := $(PREFIX)/share/man
DOCDIR := $(PREFIX)/share/doc/tornadod
GDBDIR := $(PREFIX)/share/gdb/auto-load$(LIBDIR)
BASHDIR := $(PREFIX)/share/bash-completion/completions
HANDLERDIR := $(LIBDIR)/tornadod/handlers
INCLUDEDIR := $(PREFIX)/include
FILL_IN = sed -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@VERSION@|$(VERSION)|g' -e 's|@PREFIX@|$(PREFIX)|g' \
               -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' \
               -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' -e 's|@HANDLERDIR@|$(HANDLERDIR)|g'

.PHONY: install
install: all
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(HANDLERDIR)
	install -m 755 $B/tornadod $(DESTDIR)$(SBINDIR)
	install -m 755 $B/libtornado.so.1 $(DESTDIR)$(LIBDIR)
	ln -sf libtornado.so.1 $(DESTDIR)$(LIBDIR)/libtornado.so
	install -m 755 $B/libtornado-test.so.1 $(DESTDIR)$(LIBDIR)
	ln -sf libtornado-test.so.1 $(DESTDIR)$(LIBDIR)/libtornado-test.so
	install -m 755 $(HANDLERS:%=$B/%) $(DESTDIR)$(HANDLERDIR)
	install -d $(DESTDIR)$(PREFIX)/include/tornado $(DESTDIR)$(GDBDIR)
	install -m 644 lib/tornado/*.h $(DESTDIR)$(PREFIX)/include/tornado
	for pc in tornado tornado-test; do \
	    $(FILL_IN) lib/tornado/$$pc.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/$$pc.pc || exit; \
	done
	install -m 644 lib/io/tornado-gdb.py $(DESTDIR)$(GDBDIR)/libtornado.so.1-gdb.py
	install -d $(DESTDIR)$(BASHDIR)
	install -m 644 daemon/tornadod.bash $(DESTDIR)$(BASHDIR)/tornadod
	install -d $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(DOCDIR)
	install -m 644 $(wildcard */*.5) $(DESTDIR)$(MANDIR)/man5
	install -m 644 $(wildcard */*.8) $(DESTDIR)$(MANDIR)/man8
	install -m 644 LICENSE README.md lib/tornado/HANDLERS.md conf/tornadod.ini $(DESTDIR)$(DOCDIR)
	install -d $(DESTDIR)$(SYSCONFDIR) \
	    $(addprefix $(DESTDIR)$(LIBDIR)/,systemd/system sysusers.d tmpfiles.d)
	test -e $(DESTDIR)$(SYSCONFDIR)/tornadod.ini || \
	    install -m 644 conf/tornadod.ini $(DESTDIR)$(SYSCONFDIR)
	for unit in $(SYSTEMD_UNITS); do \
	    $(FILL_IN) systemd/$$unit > $(DESTDIR)$(LIBDIR)/systemd/system/$$unit || exit 1; done
	install -d $(DESTDIR)$(LOGROTATEDIR)
	test -e $(DESTDIR)$(LOGROTATEDIR)/tornadod || \
	    $(FILL_IN) systemd/tornadod.logrotate > $(DESTDIR)$(LOGROTATEDIR)/tornadod
	install -m 644 systemd/tornadod.sysusers $(DESTDIR)$(LIBDIR)/sysusers.d/tornadod.conf
	install -m 644 systemd/tornadod.tmpfiles $(DESTDIR)$(LIBDIR)/tmpfiles.d/tornadod.conf

# What is configured stays.
.PHONY: uninstall
uninstall:
	rm -f $(addprefix $(DESTDIR),$(SBINDIR)/tornadod $(LIBDIR)/libtornado.so \
	    $(LIBDIR)/libtornado.so.1 $(LIBDIR)/libtornado-test.so $(LIBDIR)/libtornado-test.so.1 \
	    $(LIBDIR)/pkgconfig/tornado-test.pc $(HANDLERS:handlers/%=$(HANDLERDIR)/%) $(LIBDIR)/pkgconfig/tornado.pc \
	    $(GDBDIR)/libtornado.so.1-gdb.py $(BASHDIR)/tornadod $(patsubst %,$(MANDIR)/man5/%,$(notdir $(wildcard */*.5))) \
	    $(patsubst %,$(MANDIR)/man8/%,$(notdir $(wildcard */*.8))) \
	    $(SYSTEMD_UNITS:%=$(LIBDIR)/systemd/system/%) \
	    $(LIBDIR)/sysusers.d/tornadod.conf $(LIBDIR)/tmpfiles.d/tornadod.conf)
	rm -rf $(DESTDIR)$(PREFIX)/include/tornado $(DESTDIR)$(DOCDIR)

.PHONY: clean
clean:
	rm -rf build

-include $(shell find build -name '*.d' 2>/dev/null)
