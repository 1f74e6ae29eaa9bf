package main_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ringfence/loadtest/origin"
)

// The page is driven as its users do it, in a real browser.
func TestPage(t *testing.T) {
	t.Parallel()
	browser := startBrowser(t)
	t.Run("operating", func(t *testing.T) { t.Parallel(); operatePage(t, browser) })
	t.Run("access", func(t *testing.T) { t.Parallel(); accessPage(t, browser) })
}

// shop is a proxy before four servers, of which it is asked for something until
// the test ends: hits, misses, what several ask for at once, and failures.
func shop(t *testing.T) *process {
	t.Helper()
	redis := startRedis(t, "")
	s := setup{
		top:      "cache: {shared: {redis: {addresses: ['127.0.0.1:" + redis.port + "']}}}",
		upstream: "retry: {attempts: 1}\nejection: {consecutive_failures: off, failure_percentage: off}",
		route:    "tags_from: [Surrogate-Key]",
	}
	for _, name := range []string{"ash", "birch", "cedar", "dogwood"} {
		s.origins = append(s.origins, newOrigin(t, name, func(r origin.Request) origin.Answer {
			switch {
			case strings.HasPrefix(r.Path(), "/broken"):
				return origin.Answer{Raw: []byte{}, Ending: origin.Reset}
			case strings.HasPrefix(r.Path(), "/report"):
				a := origin.Text("max-age=1", strings.Repeat("report ", 500))
				a.Delay = 60 * time.Millisecond
				return a
			}
			a := origin.Text("max-age=600", strings.Repeat("an article ", 200)).With("Surrogate-Key", "news").With("ETag", `"1"`)
			a.Delay = 4 * time.Millisecond
			return a
		}))
	}
	p := runFile(t, strings.Replace(s.yaml(), "routes:\n", "routes:\n  - {upstream: app, path_prefix: /trial, cache: observe}\n", 1))
	ctx, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for worker := range 4 {
		load.Go(func() { p.browse(ctx, worker) })
	}
	t.Cleanup(load.Wait)
	t.Cleanup(stop)
	return p
}

// browse asks for one thing after the other; how often comes and goes in waves.
func (p *process) browse(ctx context.Context, worker int) {
	for i := 0; ctx.Err() == nil; i++ {
		path := fmt.Sprintf("/news/%d", (i*i+worker)%17)
		switch {
		case i%50 == 7:
			path = "/report" // all four do so at about the same time
		case i%8 == 3:
			path = fmt.Sprintf("/trial/%d", i%24)
		case i%5 == 0:
			path = fmt.Sprintf("/archive/%d-%d", worker, i)
		case i%97 == 8 && worker == 0:
			path = "/broken/cart"
		}
		if resp, err := p.client.Get("http://" + p.addr + path); err == nil {
			whole(resp)
		}
		wave := 1.4 + math.Sin(float64(time.Now().UnixMilli())/9000)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(float64(12*time.Millisecond) * wave)):
		}
	}
}

func operatePage(t *testing.T, browser context.Context) {
	p := shop(t)
	b := openTab(t, browser, "http://"+p.admin+"/", 1280)
	row := func(id, rest string) string {
		return fmt.Sprintf("document.querySelector('tr[data-server=%s]')%s", id, rest)
	}
	figure := func(id string) string { return "parseFloat(document.querySelector('#" + id + " output').textContent)" }

	// Numbers move under load.
	b.until("it is live", "document.querySelector('#connection').textContent === 'live'")
	for _, id := range []string{"requests", "hit-ratio", "latency-hits", "latency-rest", "leases"} {
		b.until(id+" to be a number", figure(id)+" > 0")
	}
	was := b.eval(figure("requests"))
	b.until("the requests to change", figure("requests")+" !== "+was)
	b.until("a line of what there was", "document.querySelector('#requests .trace').getAttribute('d').split('L').length > 2")
	b.until("collapsed requests", figure("collapsed")+" > 0")
	b.until("each server gets some", "[...document.querySelectorAll('tr[data-server] .rate')].filter(e => parseFloat(e.textContent) > 0).length >= 3")
	b.until("what the route that observes would come to", "/^\\S*\\/trial\\s+\\d+\\s+[1-9][\\d.]* %\\s+[1-9][\\d.]* %\\s+none$/.test(document.querySelector('#observed tbody tr')?.innerText)")
	b.until("hottest keys", "document.querySelectorAll('#hot tbody tr').length > 5")
	b.until("errors", "document.querySelector('#failures tbody')?.innerText.includes('/broken/cart')")
	b.until("a ring of four shares and their loads", "document.querySelectorAll('.ring .member:not(.ghost) .share').length === 4")
	if got := b.eval("document.querySelector('.ring').textContent"); !strings.Contains(got, "4 of 4 servers") || !strings.Contains(got, "birch") {
		t.Errorf("the ring: %q", got)
	}
	b.capture("page-light.png", "light", 1280)
	b.capture("page-dark.png", "dark", 1280)

	// Who drains elsewhere sees it here.
	p.operate("POST /api/drain?upstream=app&server=ash").must(t, 200)
	b.until("ash is drained", row("ash", ".innerText.includes('drained')"))
	b.until("the ring has it without keys", "document.querySelectorAll('.ring .ghost').length === 1 && document.querySelector('.ring').innerHTML.includes('3 of 4 servers')")
	p.operate("POST /api/restore?upstream=app&server=ash").must(t, 200)
	b.until("ash is back", row("ash", ".innerText.includes('live')"))

	// By the keyboard alone: there, back, and the focus stays.
	b.tabTo("drain button of birch", "e.getAttribute('aria-label') === 'Drain birch of app'")
	if got := b.eval("getComputedStyle(document.activeElement).outlineStyle"); got != `"solid"` {
		t.Errorf("the focus has an outline %s", got)
	}
	b.press("\r")
	b.until("birch is drained", row("birch", ".innerText.includes('drained')"))
	if got := p.status().server("birch").Standing; got != "drained" {
		t.Errorf("birch is %s", got)
	}
	b.until("the focus is on what restores it", "document.activeElement.getAttribute('aria-label') === 'Restore birch of app'")
	if got := b.text("#said"); !strings.Contains(got, "birch is drained") {
		t.Errorf("it says %q", got)
	}
	b.press("\r")
	b.until("birch is back", row("birch", ".innerText.includes('live')"))

	explainAndPurge(b, p)
	b.looks()
	thrown, logged := b.complaints()
	logged = slices.DeleteFunc(logged, func(line string) bool { return strings.Contains(line, "status of 400") }) // which is asked for
	if len(thrown)+len(logged) > 0 {
		t.Errorf("the console has %q, %q", thrown, logged)
	}
}

// explainAndPurge: what is purged was a hit, and is none.
func explainAndPurge(b *tab, p *process) {
	t := b.t
	url := "http://" + p.addr + "/kept?q=%3Cb%3E&x"
	asked := func() { p.get("/kept?q=%3Cb%3E&x").must(t, 200) }
	outcome := func(want string) {
		t.Helper()
		eventually(t, url+" to be a "+want, func() bool {
			b.submit("#explain", map[string]string{"url": url})
			return b.text("#explanation .badge") == want
		})
	}
	asked()
	outcome("hit")
	if got := b.text("#explanation"); !strings.Contains(got, "max-age") || !strings.Contains(got, "Servers of app") || !strings.Contains(got, "%3Cb%3E") {
		t.Errorf("explained: %s", got)
	}
	purge := func(kind, name, says string) {
		t.Helper()
		b.submit("#purge", map[string]string{"kind": kind, "name": name})
		eventually(t, kind+": "+says, func() bool {
			got := b.text("#purged")
			return strings.Contains(got, says)
		})
	}
	purge("url", url, "purged, confirmed by 1 instance")
	outcome("miss")
	asked()
	outcome("hit")
	b.click("#purge [name=soft]")
	purge("tag", "news", "tag news: made stale")
	outcome("revalidate")
	b.click("#purge [name=soft]")
	asked()
	purge("prefix", "nonsense", "nonsense")
	purge("prefix", "http://"+p.addr+"/kep", "/kep: purged")
	outcome("hit") // a prefix is of whole segments

	// Everything goes after a question, which Escape answers with no.
	open := "document.querySelector('#confirm').open"
	b.submit("#purge", map[string]string{"kind": "everything"})
	b.until("it asks", open)
	b.press(kb.Escape)
	b.until("it no longer asks", "!"+open)
	outcome("hit")
	b.submit("#purge", map[string]string{"kind": "everything"})
	b.until("it asks again", open)
	b.tabTo("button that says yes", "e.value === 'yes'")
	b.press("\r")
	b.until("all is gone", "document.querySelector('#purged').innerText.includes('everything: purged')")
	outcome("miss")

	// A key that is hot is a button away from both.
	b.eval("document.querySelector('#hot .purges').click()")
	b.until("the key is in the form", "/^[0-9a-f]{16}$/.test(document.querySelector('#purge [name=name]').value)")
	b.eval("document.querySelector('#hot .actions button').click()")
	b.until("it is explained", fmt.Sprintf("document.querySelector('#explain [name=url]').value.startsWith('http://%s/')", p.addr))
}

// colours has the browser prefer light or dark ones.
func (b *tab) colours(scheme string) {
	b.t.Helper()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
	run(b, func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	})
}

// looks: it fits a phone, and can be read in both colour schemes.
func (b *tab) looks() {
	t := b.t
	var grounds []string
	for _, scheme := range []string{"light", "dark"} {
		b.colours(scheme)
		grounds = append(grounds, b.eval("getComputedStyle(document.body).backgroundColor"))
		if faint := b.eval(contrast); faint != "[]" {
			t.Errorf("%s: too faint to be read: %s", scheme, faint)
		}
	}
	if grounds[0] == grounds[1] {
		t.Errorf("both colour schemes have %s", grounds[0])
	}
	b.capture("page-phone.png", "light", 360)
	for _, width := range []int64{360, 560, 768, 1080, 1280, 1920} {
		b.do(chromedp.EmulateViewport(width, 780))
		if got := b.eval("document.documentElement.scrollWidth"); got != fmt.Sprint(width) {
			t.Errorf("at %d px it is %s px wide", width, got)
		}
		cut := `[...document.querySelectorAll("#tiles .value, button, .badge, th, .ring-box")].filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline").map(e => e.className + " " + e.innerText)`
		if got := b.eval(cut); got != "[]" {
			t.Errorf("at %d px there is no place for %s", width, got)
		}
	}
	unnamed := `[...document.querySelectorAll("input, select, textarea, button")].filter(e => e.type !== "hidden" && !e.hidden && !e.labels?.length && !e.getAttribute("aria-label") && !e.innerText.trim() && e.offsetParent).map(e => e.outerHTML)`
	if got := b.eval(unnamed); got != "[]" {
		t.Errorf("without a name: %s", got)
	}
}

// contrast lists the texts whose colours are closer than 4.5 to 1 (WCAG 2.2,
// section 1.4.3).
const contrast = `(() => {
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if ((c[3] ?? 1) === 1) return c;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
      && !["TITLE", "OPTION", "title"].includes(e.tagName)).map((e) => {
    const style = getComputedStyle(e), [a, b] = [light(rgb(e instanceof SVGElement ? style.fill : style.color)), light(ground(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.tagName + "." + (e.getAttribute("class") ?? "") + " " + e.textContent.slice(0, 30)];
  }).filter(([ratio]) => ratio < 4.5).map(([ratio, what]) => what + " " + ratio.toFixed(2));
})()`

// capture writes a picture of the page to the folder that SCREENSHOTS names.
func (b *tab) capture(name, scheme string, width int64) {
	b.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	for b.eval("document.querySelector('#requests .trace').getAttribute('d').split('L').length > 90") != "true" {
		b.do(chromedp.Sleep(time.Second))
	}
	b.until("it has said what it had to", "document.querySelector('#said').className === 'unseen'")
	b.colours(scheme)
	var picture []byte
	if width > 400 {
		b.do(chromedp.EmulateViewport(width, 900), chromedp.Sleep(2*time.Second))
		picture = run(b, chromedp.FullScreenshot(100))
	} else {
		b.eval("scrollTo(0, 0)")
		b.do(chromedp.EmulateViewport(width, 780, chromedp.EmulateScale(2)), chromedp.Sleep(2*time.Second))
		picture = run(b, chromedp.CaptureScreenshot())
	}
	if err := os.WriteFile(filepath.Join(folder, name), small(b.t, picture), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// small is the same picture in the 256 colours that it has most of.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[color.Color]int{}
	for y := range full.Bounds().Dy() {
		for x := range full.Bounds().Dx() {
			counts[full.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] })
	few := image.NewPaletted(full.Bounds(), colours[:min(256, len(colours))])
	nearest := map[color.Color]uint8{}
	for _, c := range colours {
		nearest[c] = uint8(few.Palette.Index(c))
	}
	for y := range full.Bounds().Dy() {
		for x := range full.Bounds().Dx() {
			few.SetColorIndex(x, y, nearest[full.At(x, y)])
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// accessPage: it asks for the token and remembers it while the tab is there, offers
// no changes where there are none, and says when it hears nothing.
func accessPage(t *testing.T, browser context.Context) {
	const token = "a-token-of-the-test-s-own"
	o := newOrigin(t, "one", always(origin.Text("max-age=60", "x")))
	yaml := withAdmin(setup{origins: []*origin.Origin{o}}, "listen: '127.0.0.1:"+freePort(t)+"', read_only: on, token: "+token)
	file := writeFile(t, yaml)
	start := func() *process {
		p := startCommand(t, "run", "--config", file)
		p.awaitListening()
		return p
	}
	p := start()
	b := openTab(t, browser, "http://"+p.admin+"/", 1280)
	asks, live := "document.querySelector('#token-dialog')?.open", "document.querySelector('#connection')?.textContent === 'live'"
	b.until("it asks for the token", asks)
	b.submit("#token", map[string]string{"token": "a wrong token"})
	b.until("it asks again", asks+" && document.querySelector('#token-why').textContent.includes('not the token')")
	b.do(chromedp.SendKeys(chromedp.CSS("#token [name=token]"), token+"\r"))
	b.until("it is live", live)
	b.do(chromedp.Reload())
	b.until("it is live again without a question", live+" && !"+asks)

	b.until("it is read-only", "document.querySelector('#read-only').offsetParent && !document.querySelector('#purging').offsetParent && document.querySelector('tr[data-server=one]')")
	if got := b.eval("[...document.querySelectorAll('button.act')].filter(e => e.offsetParent).length"); got != "0" {
		t.Errorf("%s buttons change something", got)
	}

	p.signal(os.Interrupt)
	p.wait(soon)
	b.until("it says that the connection is lost", "document.querySelector('#connection').textContent.startsWith('connection lost')")
	start()
	b.until("it is live with another process", live)
	b.click("#forget")
	b.until("it has forgotten the token", asks)
	if thrown, _ := b.complaints(); len(thrown) > 0 {
		t.Errorf("thrown: %q", thrown)
	}
}
