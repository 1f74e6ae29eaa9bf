# The image has the static binary, the roots that browsers trust, a folder to write to, and nothing else.
#
#   make image
#   docker run -p 8080:8080 -v ./conf:/etc/ringfence:ro --stop-timeout 40 ringfence    # conf/ringfence.yaml, listen: :8080
#   docker run -p 8080:8080 ringfence demo --listen :8080

FROM --platform=$BUILDPLATFORM golang:1.26 AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .

FROM source AS build
ARG TARGETOS TARGETARCH VERSION=unknown
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH make build VERSION=$VERSION && mkdir /state

FROM source AS build-loadtest
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags '-s -w' -o bin/loadtest ./loadtest

# Origins and load to try it with: packaging/compose.yaml.
FROM scratch AS loadtest
COPY --from=build-loadtest /src/bin/loadtest /loadtest
USER 65532:65532
ENTRYPOINT ["/loadtest"]

FROM scratch AS ringfence
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /state /var/lib/ringfence
COPY --from=build /src/bin/proxy /proxy
USER 65532:65532
EXPOSE 8080
# At admin.listen's default address. It is not looked up in the file: one that the running proxy has refused to load
# does not make it ill.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/proxy", "health"]
ENTRYPOINT ["/proxy"]
CMD ["run", "--config", "/etc/ringfence/ringfence.yaml"]
