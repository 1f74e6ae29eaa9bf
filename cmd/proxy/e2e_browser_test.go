package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// startBrowser runs a headless Chromium until the test ends. Its context is where
// tabs are opened.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v (make deps installs it: the Debian package chromium)", err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path),
		chromedp.NoSandbox, // which root may not have
		chromedp.UserDataDir(t.TempDir()))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return ctx
}

// tab is a tab of a browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	thrown []string // exceptions that nobody caught
	logged []string // errors and warnings on the console
}

// openTab opens a page; the tab closes with the test.
func openTab(t *testing.T, browser context.Context, url string, width int64) *tab {
	t.Helper()
	b := &tab{t: t}
	ctx, closeTab := chromedp.NewContext(browser, chromedp.WithListener(b.hear))
	t.Cleanup(closeTab)
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // what bounds the first call bounds the tab
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(url))
	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.thrown = append(b.thrown, fmt.Sprintf("%+v", e.ExceptionDetails))
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			b.logged = append(b.logged, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.logged = append(b.logged, fmt.Sprint(e.Type, ": ", string(e.Args[0].Value)))
		}
	}
}

// complaints are what the console has.
func (b *tab) complaints() (thrown, logged []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.thrown), slices.Clone(b.logged)
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, chromedp.Steps(actions...))
}

// run returns what an action returns.
func run[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, soon)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// eval returns what an expression is worth, as JSON.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	return string(run(b, chromedp.Evaluate[[]byte](expression)))
}

// text is that of an element.
func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	_ = json.Unmarshal([]byte(b.eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))), &text)
	return text
}

// until waits for an expression to be true.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	eventually(b.t, what, func() bool { return b.eval("Boolean("+expression+")") == "true" })
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// press types keys: one letter of text each.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// tabTo moves the focus by the tab key alone to what an expression says of
// document.activeElement, named e.
func (b *tab) tabTo(what, isThere string) {
	b.t.Helper()
	for range 100 {
		if b.press("\t"); b.eval("(e => "+isThere+")(document.activeElement)") == "true" {
			return
		}
	}
	b.t.Fatalf("the tab key leads to no %s", what)
}

// submit fills fields of a form by their names, and submits it.
func (b *tab) submit(form string, fields map[string]string) {
	b.t.Helper()
	for name, value := range fields {
		b.eval(fmt.Sprintf("(e => { e.value = %q; e.dispatchEvent(new Event('change', {bubbles: true})); })(document.querySelector(%q))", value, form+" [name="+name+"]"))
	}
	b.click(form + " button[type=submit]")
}
