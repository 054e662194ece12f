# make demo     a virtual machine boots Debian's installer from the shipped configuration; installs the
#               packages it needs (root). FIRMWARE=bios for SeaBIOS
# make test     every rung of the tests; installs the programs they need (root)
# make test-matrix   loaders and firmware of Debian 12, 13 and of the newest suite with each other, and a
#               table of how far each gets (root, half an hour; ROWS="HTTP of trixie" for some of it); the roots
#               that they are read from are made first
# make test-installs   what `make test` leaves out of installs by our own live system: a bare disk with UEFI, the
#               power cut at 10, 50 and 90 % of the write and what goes on after one, a small disk, a short image, rescue, two builds of it (root, half
#               an hour)
# make test-causes   machines that do not come up, and the cause that `bootwright why` names for each; a hundred of
#               them among a thousand that do (root, a quarter of an hour)
# make test-fresh    SUITE=trixie (bookworm, noble, ...): demo, install and tests in a fresh root of it (root)
# make check    the quick rung: format, lints, unit tests
# make deny     advisories, licenses and sources of the dependencies, by deny.toml (needs cargo-deny and the network)
# make fuzz     coverage-guided fuzzing of what comes from the wire, from people and from the disk, for
#               SECONDS=420 in all (TARGETS="relay http" for some of it); stable Rust and a C++ compiler
# make soak     HOURS=1 SEED=n: the release build under storms, edits good and bad, flaps and kills, in an order
#               that the seed gives and at a quarter of a core, before an upgrade; says what was broken and how its
#               memory went, and keeps its records in SOAK=/var/tmp/bootwright-soak (root)
# make bench    what 10,000 hosts take; beside their peers DHCP (Kea, dnsmasq), TFTP (dnsmasq,
#               tftpd-hpa, async-tftp), HTTP (nginx) and whole storms of machines (dnsmasq with nginx);
#               what a commit of leases takes (bench-store); what 24 GiB of images take; the
#               deployer beside curl, zstd and dd; an emulated machine from power-on to its kernel (dnsmasq
#               with nginx; bench-boot: an hour, BOOTS=3 for less, OLD_BINARY= for an older build beside it) (root)
# make deployer Bootwright's own live system as the image bootwright-live, of Debian packages that are downloaded and not
#               installed: it writes disks (script deploy) and is what boot = "rescue" boots. FIRMWARE="firmware-bnx2x"
#               adds firmware for NICs that want some
# make images   Debian's installer as an image, from the netboot package of this machine's release
# make install  DESTDIR= PREFIX=/usr; a configuration that exists is kept. The live system goes along if it is built
# make docs     the docs of every module, private ones too; fails where a link leads nowhere or to two things
# make check-release  the release build, the docs, and the tests of `check` against it: before a release, as it
#               builds everything once more

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr
PROFILE ?= release
BINARY  ?= target/release/bootwright

IMAGES    = $(DESTDIR)/srv/bootwright/images
LIVE      = images/bootwright-live
UNITS     = $(DESTDIR)$(PREFIX)/lib/systemd/system
CONFIG    = $(DESTDIR)/etc/bootwright

# The installer that this release has in a package. The shipped inventory names debian-13.
NETBOOT   = /usr/lib/debian-installer/images
PACKAGED  = $(notdir $(lastword $(shell ls -dv $(NETBOOT)/[0-9]* 2> /dev/null)))
IMAGE     = debian-$(or $(PACKAGED),13)

# Networks, packages and machines need root; the build does not.
SUDO = $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: all demo test test-matrix test-installs test-causes test-fresh check check-release docs lint deny rungs fuzz soak bench bench-room bench-store bench-dhcp bench-tftp bench-http bench-storm bench-images bench-deploy bench-boot deployer images install cargo demo-packages test-packages

all: cargo
	$(CARGO) build --release

cargo:
	@command -v $(CARGO) > /dev/null || { \
	  echo "bootwright: '$(CARGO)' is not here. Rust 1.90 or later builds it: https://rustup.rs, then run make again." >&2; \
	  exit 1; }

demo-packages:
	@$(SUDO) tests/install-packages.sh demo

test-packages:
	@$(SUDO) tests/install-packages.sh tests

demo: cargo demo-packages
	@$(CARGO) build
	@test -e images/$(IMAGE)/image.toml || $(MAKE) --no-print-directory images
	@$(SUDO) env FIRMWARE="$(FIRMWARE)" IMAGE="$(IMAGE)" CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)" tests/demo.sh

check: lint
	$(CARGO) test --lib --quiet

lint: cargo
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --all-targets -- -D warnings

deny: cargo
	@command -v cargo-deny > /dev/null || { \
	  echo "bootwright: cargo-deny is not here: cargo install --locked cargo-deny, then run make deny again." >&2; \
	  exit 1; }
	$(CARGO) deny --locked check

# Half a minute of CPU after every change, so not in the quick rung.
docs: cargo
	$(CARGO) doc --quiet --no-deps --document-private-items

check-release: all docs
	$(CARGO) test --release --quiet --lib --test pure -- render:: config:: check::

test: test-packages check rungs

test-matrix: cargo test-packages
	@$(SUDO) tests/install-packages.sh qemu-system-arm
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(if $(SUDO),$(SUDO) --preserve-env=ROWS,env)" \
	$(CARGO) test --quiet --test lab -- matrix:: --ignored --nocapture --test-threads=1

test-installs: cargo test-packages
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(or $(SUDO),env)" \
	$(CARGO) test --test lab -- firmware::deploy:: --ignored --test-threads=1

test-causes: cargo test-packages
	@$(SUDO) tests/install-packages.sh qemu-system-arm qemu-efi-aarch64
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(or $(SUDO),env)" \
	$(CARGO) test --test lab -- firmware::causes:: --include-ignored --nocapture --test-threads=2
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(or $(SUDO),env)" \
	$(CARGO) test --test lab -- storm::of_a_thousand --ignored

test-fresh:
	@$(SUDO) tests/fresh-root.sh $(or $(SUITE),trixie)

# The programs are built by whoever runs make and run by root: the lab makes network namespaces. Most of rung 3's
# time is waiting; a machine under test takes one processor.
rungs: cargo
	@set -e; \
	export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(or $(SUDO),env)"; \
	echo "== rungs 1 and 2: pure functions, in memory"; \
	$(CARGO) test --quiet --test pure -- --include-ignored; \
	echo "== real sockets and programs on loopback"; \
	$(CARGO) test --quiet --test servers -- --include-ignored; \
	echo "== rung 3: real clients in network namespaces"; \
	$(CARGO) test --test lab -- --skip firmware:: --test-threads=4; \
	echo "== rung 4: real firmware"; \
	$(CARGO) test --test lab -- firmware:: --test-threads=2

fuzz: cargo
	@SECONDS_EACH=$$(( ($(or $(SECONDS),420) + 8) / 9 )) tests/fuzz/run.sh

soak: cargo
	@$(SUDO) tests/install-packages.sh iproute2 busybox ipxe
	$(CARGO) build --release --bins
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(SUDO) env BINARY=$(abspath $(BINARY)) HOURS=$(HOURS) SEED=$(SEED) SOAK=$(SOAK) nice -n 15" \
	$(CARGO) test --quiet --test lab -- soak::for_hours --exact --ignored --nocapture

bench: bench-room bench-store bench-dhcp bench-tftp bench-http bench-storm bench-images bench-deploy bench-boot

bench-room: cargo
	@$(SUDO) tests/install-packages.sh iproute2 gnuplot-nox
	$(CARGO) bench --profile $(PROFILE) --bench room
	@[ ! -s target/bench/room.tsv ] || tests/bench/plot.sh "10,000 and 100,000 hosts" target/bench/room.tsv > target/bench/room.svg

bench-store: cargo
	$(CARGO) bench --profile $(PROFILE) --bench store

bench-dhcp: cargo
	@$(SUDO) tests/install-packages.sh kea-admin kea-dhcp4-server dnsmasq-base gnuplot-nox
	-@$(SUDO) tests/newer-root.sh sid kea-dhcp4-server > /dev/null
	$(CARGO) build --release --bins --example dhcp-load
	@$(SUDO) tests/bench/dhcp.sh

bench-tftp: cargo
	@$(SUDO) tests/install-packages.sh dnsmasq-base tftpd-hpa
	$(CARGO) build --release --bins --examples
	@$(SUDO) tests/bench/tftp.sh

bench-http: cargo
	@$(SUDO) tests/install-packages.sh nginx-light dnsmasq-base wrk nftables gnuplot-nox curl
	$(CARGO) build --release --bins --examples
	@$(SUDO) tests/bench/http.sh

bench-storm: cargo
	@$(SUDO) tests/install-packages.sh dnsmasq-base nginx-light jq gnuplot-nox mmdebstrap
	@$(SUDO) tests/newer-root.sh sid dnsmasq-base || echo "no newer dnsmasq: this machine's own is measured"
	$(CARGO) build --release --bins --examples
	@$(SUDO) tests/bench/storm.sh

bench-images: cargo
	@$(SUDO) tests/install-packages.sh curl jq
	$(CARGO) build --release
	@$(SUDO) tests/bench/images.sh

bench-deploy: cargo
	@$(SUDO) tests/install-packages.sh nginx-light curl zstd gzip jq mount
	$(CARGO) build --release --bin bootwright-deploy
	@$(SUDO) tests/bench/deploy.sh

bench-boot: cargo
	@$(SUDO) tests/install-packages.sh demo
	@$(SUDO) tests/install-packages.sh dnsmasq-base nginx-light tshark gnuplot-nox mmdebstrap
	$(CARGO) build --release
	@$(SUDO) tests/bench/boot.sh

# Without such a package (Ubuntu) they come from Debian's own servers, checked by its signature.
images: cargo
	$(CARGO) run --quiet -- image fetch $(IMAGE) $(if $(PACKAGED),--offline) --images images --force

# Linked against nothing, so that it runs in any initrd; only that last step differs from a usual build.
STATIC = -C target-feature=+crt-static
deployer: cargo
	$(CARGO) rustc $(if $(filter release,$(PROFILE)),--release) --bin bootwright-deploy -- $(STATIC)
	FIRMWARE="$(FIRMWARE)" live/build.sh $(or $(CARGO_TARGET_DIR),target)/$(if $(filter release,$(PROFILE)),release,debug)/bootwright-deploy $(LIVE)

# An inventory has secrets in it: root writes it, the daemon reads it, nobody else does either. Where a
# package is built there are no users yet; its postinst runs systemd-sysusers and
# `chgrp bootwright /etc/bootwright/inventory.toml`.
MAKE_USER = test ! -w $(DESTDIR)/etc/group || ! command -v systemd-sysusers > /dev/null || \
            systemd-sysusers --root=$(or $(DESTDIR),/) - < systemd/bootwright.sysusers
GROUP     = $$(sed -n 's/^bootwright:[^:]*:\([0-9]*\):.*/-g \1/p' $(DESTDIR)/etc/group 2> /dev/null)

# The checkout's configuration points beside itself; an installed one points where things lie then.
install:
	@test -x $(BINARY) || { echo "bootwright: nothing is built yet, run make first" >&2; exit 1; }
	install -Dm755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/bootwright
	install -d $(UNITS)
	sed 's|=/usr/bin/|=$(PREFIX)/bin/|' systemd/bootwright.service > $(UNITS)/bootwright.service
	install -Dm644 systemd/bootwright.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/bootwright.conf
	install -d $(CONFIG)/answers $(CONFIG)/ipxe-scripts $(IMAGES)
	umask 022; cp -Rn config/answers/. $(CONFIG)/answers/
	install -Dm644 config/quirks.toml $(DESTDIR)$(PREFIX)/share/bootwright/quirks.toml
	install -Dm644 images/catalogue.toml $(DESTDIR)$(PREFIX)/share/bootwright/catalogue.toml
	umask 022; cp -Rn ipxe-scripts/. $(CONFIG)/ipxe-scripts/
	@if test -e $(LIVE)/image.toml; then set -e -x; \
	  install -d $(IMAGES)/bootwright-live; \
	  install -m644 $$(ls -d $(LIVE)/* | grep -v '/image.toml$$') $(IMAGES)/bootwright-live/; \
	  install -m644 $(LIVE)/image.toml $(IMAGES)/bootwright-live/image.toml; \
	elif ! test -e $(IMAGES)/bootwright-live/image.toml; then \
	  echo 'bootwright: the live system is not built, so it is not installed: script = "deploy" and boot = "rescue"' >&2; \
	  echo 'bootwright: need it. make deployer builds it (from packages of Debian); run make install again then.' >&2; \
	fi
	$(MAKE_USER)
	test -e $(CONFIG)/inventory.toml || install -m640 $(GROUP) config/inventory.toml $(CONFIG)/inventory.toml
	test -e $(CONFIG)/bootwright.toml || sed \
	  -e 's|^scripts = .*|scripts = "ipxe-scripts"|' -e 's|^images = .*|images = "/srv/bootwright/images"|' \
	  config/bootwright.toml | install -m644 /dev/stdin $(CONFIG)/bootwright.toml
