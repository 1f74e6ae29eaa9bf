package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ringfence/proxy/config"
)

// adminFlags say how a command reaches the admin listener of a running proxy.
type adminFlags struct {
	address, tokenFile, config string
	caFile, certFile, keyFile  string
}

// addAdminFlags gives cmd the flags of a command that talks to a running proxy.
func addAdminFlags(cmd *cobra.Command) *adminFlags {
	f := new(adminFlags)
	flags := cmd.Flags()
	flags.StringVar(&f.address, "admin", config.Default().Admin.Listen, "`address` of the proxy's admin listener: host:port, https://host:port or unix:/path")
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` whose first line is the token of the admin listener")
	flags.StringVarP(&f.config, "config", "c", "", "the proxy's configuration `file`, to take address, token and certificate from")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM `file` of the roots, or of the certificate itself, to trust in place of the system's")
	flags.StringVar(&f.certFile, "cert-file", "", "PEM `file` of the certificate to show")
	flags.StringVar(&f.keyFile, "key-file", "", "PEM `file` of its key")
	for _, flag := range []string{"admin", "token-file", "ca-file"} {
		cmd.MarkFlagsMutuallyExclusive("config", flag)
	}
	cmd.MarkFlagsRequiredTogether("cert-file", "key-file")
	return f
}

// adminClient asks the admin listener of a running proxy.
type adminClient struct {
	address string // as it is shown
	base    string
	token   string
	http    *http.Client
}

// client returns the client that the flags describe. It reads the files that they
// name, and connects to nobody.
func (f *adminFlags) client() (*adminClient, error) {
	address, token, pinned, err := f.address, "", f.caFile, error(nil)
	if f.config != "" {
		cfg, err := config.Load(f.config)
		if err != nil {
			return nil, err
		}
		if address, err = dialAddress(cfg.Admin); err != nil {
			return nil, fmt.Errorf("%s: %w", f.config, err)
		}
		token, f.tokenFile, pinned = cfg.Admin.Token, cfg.Admin.TokenFile, cfg.Admin.TLS.CertFile
	}
	if f.tokenFile != "" {
		if token, err = firstLine(f.tokenFile); err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
	}
	address = strings.TrimPrefix(strings.TrimSuffix(address, "/"), "http://")
	c := &adminClient{address: address, base: "http://" + address, token: token}
	transport := &http.Transport{DisableKeepAlives: true}
	if socket, ok := strings.CutPrefix(address, "unix:"); ok {
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	if strings.HasPrefix(address, "https://") {
		c.base = address
		if transport.TLSClientConfig, err = f.tls(pinned, f.config != ""); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// dialAddress is where the admin listener of a configuration is reached from the
// same machine.
func dialAddress(a config.Admin) (string, error) {
	if a.Listen == "" {
		return "", errors.New("it has no admin listener (admin.listen)")
	}
	if strings.HasPrefix(a.Listen, "unix:") {
		return a.Listen, nil
	}
	host, port, err := net.SplitHostPort(a.Listen)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", errors.New("the port of its admin listener is a free one; say it with --admin")
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() && ip.Is6() {
		host = "::1"
	} else if host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	address := net.JoinHostPort(host, port)
	if a.TLS.CertFile != "" {
		return "https://" + address, nil
	}
	return address, nil
}

// tls returns what trusts the certificates in a file, and shows the one of the
// flags. Where it is pinned, the server's own certificate is the file's first one,
// and its names are not looked at: it is a configuration's, and the address as well.
func (f *adminFlags) tls(trusted string, pinned bool) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.certFile != "" {
		pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	if trusted == "" {
		return t, nil
	}
	text, err := os.ReadFile(trusted)
	if err != nil {
		return nil, err
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", trusted)
	}
	if pinned {
		own := firstCertificate(text)
		t.InsecureSkipVerify = true // it is verified here
		t.VerifyConnection = func(state tls.ConnectionState) error {
			if !bytes.Equal(state.PeerCertificates[0].Raw, own) {
				return fmt.Errorf("the server's certificate is not that of %s", trusted)
			}
			return nil
		}
	}
	return t, nil
}

// firstCertificate returns a certificate in DER form, nil where there is none.
func firstCertificate(text []byte) []byte {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return block.Bytes
		}
	}
	return nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// do asks for a path, with in as JSON where it is not nil, and reads the answer into
// out. What is refused is an error that says why.
func (c *adminClient) do(ctx context.Context, method, path string, in, out any) error {
	body, err := []byte(nil), error(nil)
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	text, err := c.ask(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s: %w", c.address, err)
	}
	return nil
}

// ask asks for a path with this body, and returns the answer, wanted in this form.
// The error is an [*url.Error] where nobody answers.
func (c *adminClient) ask(ctx context.Context, method, path, form string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", form)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	// It was read, or what is wrong with it is said.
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.address, err)
	}
	if resp.StatusCode/100 != 2 {
		var why struct{ Detail string }
		// Where it is no problem of ours, the text says what it is.
		_ = json.Unmarshal(text, &why)
		return nil, fmt.Errorf("%s says %d: %s", c.address, resp.StatusCode, cmp.Or(why.Detail, string(bytes.TrimSpace(text))))
	}
	return text, nil
}

// firstLine reads a secret from a file.
func firstLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}
