# preforkd: "make run" shows it, "make test" proves it. Both install what they need.
#
# Set CC, CFLAGS, LDFLAGS, PREFIX, SYSCONFDIR, DESTDIR as usual.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
RUNSTATEDIR ?= /run
SBINDIR    ?= $(PREFIX)/sbin
MANDIR     ?= $(PREFIX)/share/man
INCLUDEDIR ?= $(PREFIX)/include
LIBEXECDIR ?= $(PREFIX)/lib/preforkd
DOCDIR     ?= $(PREFIX)/share/doc/preforkd
UNITDIR    ?= $(PREFIX)/lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions

CFLAGS  ?= -O2 -g
WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wconversion \
	-Wno-sign-conversion -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wundef
HARDEN   = -fstack-protector-strong -fstack-clash-protection -fPIE
FORTIFY  = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
DEFINES  = -D_GNU_SOURCE -DSYSCONFDIR='"$(SYSCONFDIR)"' -DRUNSTATEDIR='"$(RUNSTATEDIR)"'
ALL_CFLAGS = -std=c11 $(DEFINES) -Isrc $(WARNINGS) $(HARDEN) $(FORTIFY) $(CFLAGS) -MMD -MP
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)
CTL_LIBS = -lcurl -ljansson -lncursesw -ltinfo
LIBS     = -lini_config -lbasicobjects -lref_array -lcollection \
	-levent_extra -levent_core -ljansson -lbsd -lfcgi -pthread

B       := build
SOURCES := $(sort $(wildcard src/*.c src/*/*.c))
OBJECTS := $(SOURCES:src/%.c=$B/obj/%.o)
CTL     := $(filter $B/obj/preforkctl.o $B/obj/ctl/%,$(OBJECTS))
DAEMON  := $(filter-out $(CTL),$(OBJECTS))
UNITS   := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
PURE    := $(filter $B/obj/common/%,$(OBJECTS)) $B/obj/gate/text.o \
	$(patsubst %,$B/obj/master/%.o,life lines policy state tally) \
	$(patsubst %,$B/obj/worker/%.o,answer fcgi logline params) \
	$(patsubst %,$B/obj/ctl/%.o,figures order print rates)
FUZZ    := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
APPS    := $(patsubst tests/integration/apps/%.c,$B/tests/%,$(wildcard tests/integration/apps/*.c))
# What the tests build; only one at a time may install packages.
ALL_CORES = $(MAKE) --no-print-directory -j$(shell nproc)
PYTEST   = PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -p no:cacheprovider

BUILD_PACKAGES = gcc libc6-dev libfcgi-dev libbsd-dev libevent-dev libini-config-dev \
	libcurl4-openssl-dev libjansson-dev libncurses-dev
RUN_PACKAGES   = $(BUILD_PACKAGES) nginx-light
TEST_PACKAGES  = $(RUN_PACKAGES) libcmocka-dev clang clang-format clang-tidy cppcheck mandoc \
	shellcheck universal-ctags binutils python3 python3-pytest php-cgi libfcgi-perl libcgi-fast-perl \
	cgi-mapserver fcgiwrap ruby ruby-fcgi apache2-bin lighttpd caddy haproxy spawn-fcgi curl \
	python3-pyte chromium chromium-driver python3-selenium prometheus systemd procps iproute2 \
	apache2-utils libclang-rt-14-dev python3-prometheus-client
# For the others that are measured too, and for measuring.
BENCH_PACKAGES = $(RUN_PACKAGES) python3 spawn-fcgi multiwatch php-fpm php-apcu libfcgi-perl \
	libfcgi-procmanager-perl uwsgi-core uwsgi-plugin-python3 linux-perf

.PHONY: FORCE all run test tested check lint unit replay fuzz bench overhead soak install uninstall clean deps run-deps build-deps \
	bench-deps

all: build-deps $B/preforkd $B/preforkctl

build-deps:
	@tests/deps.sh $(BUILD_PACKAGES)
run-deps:
	@tests/deps.sh $(RUN_PACKAGES)
deps:
	@tests/deps.sh $(TEST_PACKAGES)

$B/preforkd: $(DAEMON)
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(DAEMON) $(LIBS)
$B/preforkctl: $(CTL) $(addprefix $B/obj/common/,clock.o err.o units.o)
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(CTL_LIBS)

$(OBJECTS): $B/obj/%.o: src/%.c | build-deps
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Paths are built in: another SYSCONFDIR is another conf.o, another RUNSTATEDIR another preforkctl.o.
$B/paths: FORCE
	@mkdir -p $B; echo '$(SYSCONFDIR) $(RUNSTATEDIR)' | cmp -s - $@ || \
		echo '$(SYSCONFDIR) $(RUNSTATEDIR)' >$@
$B/obj/common/conf.o $B/obj/preforkctl.o: $B/paths
FORCE:
$B/obj/gate/page.o: $(addprefix src/gate/page.,html css js) # embedded by the assembler

-include $(OBJECTS:.o=.d)

run: run-deps $B/preforkd $B/preforkctl
	@tests/run.sh $B/preforkd

# Unit tests: the pure rooms and nothing above them, plain and under the sanitizers.
$B/unit/%: tests/unit/%.c $(PURE)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MF $@.d -o $@ $< $(PURE) $(LIBS) -lcmocka
SANITIZED = -std=c11 -D_GNU_SOURCE -Isrc -g -O1 -fsanitize=address,undefined \
	-fno-sanitize-recover=all
SAN_CC   = $(CC) $(SANITIZED)
SAN_PURE = $(PURE:$B/obj/%=$B/san/obj/%)
$(SAN_PURE): $B/san/obj/%.o: src/%.c | deps
	@mkdir -p $(@D)
	@$(SAN_CC) -MMD -MP -c -o $@ $<
$B/san/%: tests/unit/%.c $(SAN_PURE)
	@$(SAN_CC) -o $@ $< $(SAN_PURE) $(LIBS) -lcmocka
-include $(SAN_PURE:.o=.d)
unit: deps
	@$(ALL_CORES) $(UNITS:%=$B/unit/%) $(UNITS:%=$B/san/%)
	@for t in $(UNITS); do for kind in unit san; do \
		$B/$$kind/$$t >$B/$$kind/$$t.log 2>&1 || { cat $B/$$kind/$$t.log; exit 1; }; \
	done; done; echo "unit tests: $(words $(UNITS)) programs passed, plain and under ASan and UBSan"

# Inputs that clang's libFuzzer makes up, for the pure rooms again; "make test" replays the known ones.
FUZZ_CC   = clang $(SANITIZED)
FUZZ_PURE = $(PURE:$B/obj/%=$B/fuzz/obj/%)
$(FUZZ_PURE): $B/fuzz/obj/%.o: src/%.c | deps
	@mkdir -p $(@D)
	@$(FUZZ_CC) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$B/fuzz/%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(FUZZ_PURE)
	@$(FUZZ_CC) -fsanitize=fuzzer $(FUZZ_LINK) -Wl,--as-needed -o $@ $< $(FUZZ_PURE) $(LIBS)
$B/fuzz/conf: FUZZ_LINK = -Wl,--wrap=glob -Wl,--wrap=globfree
-include $(FUZZ_PURE:.o=.d)
replay: deps
	@$(ALL_CORES) $(FUZZ:%=$B/fuzz/%)
	@tests/fuzz/fuzz.sh replay $B $(FUZZ)
fuzz: deps
	@$(ALL_CORES) $(FUZZ:%=$B/fuzz/%)
	@tests/fuzz/fuzz.sh $(FUZZ_SECONDS) $B $(FUZZ)

# Programs and modules that the integration tests run; lib*.c become shared objects.
$B/tests/%: tests/integration/apps/%.c src/preforkd_app.h
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -Isrc $(if $(findstring module_,$@),-shared -fPIC) -o $@ $< -lfcgi

lint: deps
	@tests/lint/lint.sh $B "$(WARNINGS)"

tested: deps
	@$(ALL_CORES) $B/preforkd $B/preforkctl $(APPS)

check: unit tested
	@$(PYTEST) -m quick tests/integration

test: lint unit replay tested
	@$(PYTEST) tests/integration

soak: tested
	@PREFORKD_SOAK=1 $(PYTEST) tests/integration

bench-deps:
	@tests/deps.sh $(BENCH_PACKAGES)
bench: bench-deps $B/preforkd
	@/usr/bin/python3 -B tests/bench/bench.py $B

# What it costs to be seen; beside a program without a scoreboard.
$B/bench/unboarded: tests/bench/unboarded.c $(DAEMON)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(patsubst %,-Xlinker --wrap=%,clock_us params_get params_path \
		$(addprefix board_,begin describe end hold)) -MF $@.d -o $@ $< $(DAEMON) $(LIBS)
overhead: deps $B/preforkd $B/bench/unboarded
	@/usr/bin/python3 -B tests/bench/overhead.py $B

# fill MODE,FILE,PLACE: a file with the paths of this installation in it.
fill = sed -e 's|@SBINDIR@|$(SBINDIR)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g' \
	-e 's|@LIBEXECDIR@|$(LIBEXECDIR)|g; s|@RUNSTATEDIR@|$(RUNSTATEDIR)|g' \
	-e 's|/usr/local/lib/preforkd|$(LIBEXECDIR)|g; s|/etc/preforkd|$(SYSCONFDIR)/preforkd|g' $2 | \
	install -m $1 /dev/stdin $(DESTDIR)$3
SAMPLES = nginx.conf apache.conf lighttpd.conf Caddyfile haproxy.cfg prometheus.yml \
	prometheus-rules.yml grafana.json

install: all
	@install -d -m 755 $(addprefix $(DESTDIR),$(SBINDIR) $(INCLUDEDIR) $(MANDIR)/man3 $(MANDIR)/man5 \
		$(MANDIR)/man8 $(LIBEXECDIR) $(DOCDIR)/examples/runit $(UNITDIR) $(TMPFILESDIR) \
		$(COMPLETIONDIR) $(SYSCONFDIR)/preforkd/pools.d $(SYSCONFDIR)/init.d \
		$(SYSCONFDIR)/logrotate.d)
	@install -m 755 $B/preforkd $(DESTDIR)$(SBINDIR)/preforkd
	@install -m 755 $B/preforkctl $(DESTDIR)$(SBINDIR)/preforkctl
	@install -m 644 conf/preforkctl.bash-completion $(DESTDIR)$(COMPLETIONDIR)/preforkctl
	@install -m 644 src/preforkd_app.h $(DESTDIR)$(INCLUDEDIR)/preforkd_app.h
	@$(call fill,644,src/preforkd.8,$(MANDIR)/man8/preforkd.8)
	@$(call fill,644,src/preforkctl.8,$(MANDIR)/man8/preforkctl.8)
	@$(call fill,644,src/preforkd.conf.5,$(MANDIR)/man5/preforkd.conf.5)
	@$(call fill,644,src/preforkd_app.3,$(MANDIR)/man3/preforkd_app.3)
	@test -e $(DESTDIR)$(SYSCONFDIR)/preforkd/preforkd.conf || \
		install -m 644 conf/preforkd.conf $(DESTDIR)$(SYSCONFDIR)/preforkd/preforkd.conf
	@install -m 644 $(SAMPLES:%=conf/%) $(DESTDIR)$(DOCDIR)/examples/
	@$(call fill,755,init/preforkd.sysv,$(SYSCONFDIR)/init.d/preforkd)
	@$(call fill,755,init/preforkd-reload,$(LIBEXECDIR)/preforkd-reload)
	@$(call fill,644,init/preforkd.service,$(UNITDIR)/preforkd.service)
	@$(call fill,644,init/preforkd.socket,$(UNITDIR)/preforkd.socket)
	@$(call fill,644,conf/logrotate,$(SYSCONFDIR)/logrotate.d/preforkd)
	@$(call fill,644,conf/tmpfiles.conf,$(TMPFILESDIR)/preforkd.conf)
	@$(call fill,755,init/preforkd.openrc,$(DOCDIR)/examples/preforkd.openrc)
	@$(call fill,755,init/runit/run,$(DOCDIR)/examples/runit/run)
	@echo "preforkd is installed in $(DESTDIR)$(PREFIX)"

# The configuration and modules stay: they are the administrator's.
uninstall:
	@rm -f $(addprefix $(DESTDIR),$(SBINDIR)/preforkd $(SBINDIR)/preforkctl \
		$(INCLUDEDIR)/preforkd_app.h $(COMPLETIONDIR)/preforkctl \
		$(MANDIR)/man8/preforkd.8 $(MANDIR)/man8/preforkctl.8 \
		$(MANDIR)/man5/preforkd.conf.5 $(MANDIR)/man3/preforkd_app.3 \
		$(SYSCONFDIR)/init.d/preforkd $(SYSCONFDIR)/logrotate.d/preforkd \
		$(UNITDIR)/preforkd.service $(UNITDIR)/preforkd.socket $(TMPFILESDIR)/preforkd.conf)
	@rm -rf $(DESTDIR)$(DOCDIR)
	@rm -f $(DESTDIR)$(LIBEXECDIR)/preforkd-reload
	@rmdir $(DESTDIR)$(LIBEXECDIR) 2>/dev/null || true

clean:
	@rm -rf $B
