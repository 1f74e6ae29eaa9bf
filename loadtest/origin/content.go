package origin

import (
	"hash/crc32"
	"hash/fnv"
	"io"
	"math/rand/v2"
)

// blockSize is what content longer than it repeats. It is a prime, so that content which lost, doubled or swapped a
// buffer of any usual size differs from what it should be.
const blockSize = 65521

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Content returns the first size bytes of the content that belongs to a
// target: the same bytes at each call, others for each target.
func Content(target string, size int64) io.Reader {
	return &content{block: block(target, min(size, blockSize)), size: size}
}

// Sum returns the CRC-32C of all that r gives, and how many bytes that is.
func Sum(r io.Reader) (sum uint32, length int64, err error) {
	h := crc32.New(castagnoli)
	length, err = io.Copy(h, r)
	return h.Sum32(), length, err
}

func block(target string, size int64) []byte {
	h := fnv.New64a()
	_, _ = h.Write([]byte(target)) // never fails
	src := rand.NewPCG(h.Sum64(), blockSize)
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(src.Uint64())
	}
	return b
}

type content struct {
	block    []byte
	at, size int64
}

func (c *content) Read(p []byte) (int, error) {
	if c.at == c.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.size-c.at)]
	n := copy(p, c.block[c.at%blockSize:])
	c.at += int64(n)
	return n, nil
}
