# make test    the whole suite with the race detector; installs what it needs
# make conformance  the behaviours of the HTTP cache, one by one, and their summary
# make drill   what a fleet of three promises, and five servers behind one proxy on bad days, with real processes and a
#              real engine; takes some ten minutes of a quiet machine
# make soak    an hour of mixed load on a fleet of three, and every mishap over and over: whether memory, goroutines and
#              descriptors stay what they are
# make compare what an answer costs here, in nginx, HAProxy and Varnish, and in fasthttp alone; takes ten minutes
# make simulation  100,000 schedules of what may go wrong in a fleet; the tests run a few hundred
# make lint    formatting, vet, golangci-lint, go.mod tidiness, a build for macOS
# make build   a static binary, bin/proxy
# make man     the binary and its manual page, bin/proxy.1
# make install after make man: binary, manual page, completions of shells and a systemd unit, below PREFIX
# make image   a container image, ringfence
# make bench   the benchmarks
# make fuzz    each fuzz target for FUZZTIME

GO       ?= go
FUZZTIME ?= 30s
BENCH    ?= .
COUNT    ?= 1
PREFIX   ?= /usr/local
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The linter is a Go tool whose version is pinned apart from the program's own
# dependencies.
LINT := $(GO) tool -modfile=.ci/tools.mod golangci-lint

.PHONY: all build man install image test conformance drill soak compare simulation lint bench fuzz screenshots deps clean

all: lint test build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/proxy ./cmd/proxy

man: build
	bin/proxy man > bin/proxy.1

# What make man has made, so that root needs no Go. DESTDIR, for who makes a package of it, is a folder to put before PREFIX.
install:
	install -D -m 755 bin/proxy $(DESTDIR)$(PREFIX)/bin/proxy
	install -D -m 644 bin/proxy.1 $(DESTDIR)$(PREFIX)/share/man/man1/proxy.1
	bin/proxy completion bash | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/bash-completion/completions/proxy
	bin/proxy completion zsh | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_proxy
	bin/proxy completion fish | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/proxy.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local/,$(PREFIX)/,' packaging/ringfence.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/ringfence.service

image:
	docker build --build-arg VERSION=$(VERSION) -t ringfence .

test: deps
	$(GO) test -race -shuffle=on -timeout 15m ./...
	$(GO) test -run 'Alloc|Ratios' ./... # the race detector allocates, and spoils caches

# Within the package's folder go test shows the output of what passes, too.
conformance:
	cd cmd/proxy && $(GO) test -count 1 -run '^TestConformance$$'

drill: deps
	$(GO) run ./loadtest drill all

soak: deps
	$(GO) run ./loadtest drill soak --for 1h

compare:
	@.ci/deps gcc haproxy nginx varnishd=varnish
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/proxy ./cmd/proxy
	$(GO) run ./loadtest compare --proxy bin/proxy

simulation:
	SCHEDULES=100000 $(GO) test -timeout 1h -count 1 -run '^TestSimulation$$' ./singleflight/redis

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(LINT) run ./...
	$(GO) mod tidy -diff
	GOOS=darwin $(GO) build -o /dev/null ./cmd/proxy # it runs there, too

bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

# Go fuzzes one target of one package at a time.
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# The pictures of the page that README.md shows; takes two minutes.
screenshots: deps
	SCREENSHOTS=$(CURDIR)/docs $(GO) test -count 1 -run '^TestPage$$' ./cmd/proxy

# What the tests need beside Go: a C compiler for the race detector,
# redis-server, the engine that a fleet shares, nginx, a server whose TLS is not
# Go's, a browser for the page, and what reads manual pages and units.
deps:
	@.ci/deps chromium gcc groff=groff-base nginx redis-server systemd-analyze=systemd

clean:
	rm -rf bin
