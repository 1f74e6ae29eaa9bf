package upstream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
)

// scribe writes TLS 1.3 records of a server's, of any content: it takes the
// place of crypto/tls behind the handshake (RFC 8446, sections 5.2 and 7).
type scribe struct {
	mu     sync.Mutex
	keys   bytes.Buffer // SSLKEYLOGFILE
	secret []byte
	seq    uint64
}

func (s *scribe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.Write(p)
}

// begin takes the secret of the connection that was made last.
func (s *scribe) begin(p *peer) error {
	if err := p.Conn.(*tls.Conn).Handshake(); err != nil {
		return err
	}
	if suite := p.Conn.(*tls.Conn).ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("cipher suite %x", suite)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.keys.String()) {
		if f := strings.Fields(line); f[0] == "SERVER_TRAFFIC_SECRET_0" {
			s.secret, _ = hex.DecodeString(f[2])
		}
	}
	s.seq = 0
	return nil
}

func expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), byte(len(label)))
	out, err := hkdf.Expand(sha256.New, secret, string(append(append(info, label...), 0)), n)
	if err != nil {
		panic(err)
	}
	return out
}

// The types of records' content.
const (
	alertRecord     = 21
	handshakeRecord = 22
	dataRecord      = 23
)

// seal makes the next record.
func (s *scribe) seal(content byte, data string) string {
	block, err := aes.NewCipher(expand(s.secret, "key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := expand(s.secret, "iv", 12)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^s.seq)
	s.seq++
	head := binary.BigEndian.AppendUint16([]byte{dataRecord, 3, 3}, uint16(len(data)+1+aead.Overhead()))
	return string(aead.Seal(head, nonce, append([]byte(data), content), head))
}

// ticket is a NewSessionTicket (RFC 8446, section 4.6.1).
func (s *scribe) ticket() string {
	body := "\x00\x00\x0e\x10" + "\x01\x02\x03\x04" + "\x01n" + "\x00\xff" + long(255) + "\x00\x00"
	return s.seal(handshakeRecord, "\x04\x00"+string(binary.BigEndian.AppendUint16(nil, uint16(len(body))))+body)
}

// keyUpdate is a KeyUpdate (section 4.6.3), behind which the keys are new ones.
func (s *scribe) keyUpdate(wantsOne byte) string {
	r := s.seal(handshakeRecord, "\x18\x00\x00\x01"+string(wantsOne))
	s.secret, s.seq = expand(s.secret, "traffic upd", 32), 0
	return r
}
