package admin

import (
	"net/http"
	"strings"

	"ringfence/proxy"
)

// explain answers what would become of a request, of which the query says url,
// and, if wanted, method (default GET), header (Name:value, any number) and
// client (the address of who asks). It is JSON, or text for people where the
// Accept field begins with text/plain.
func (o Options) explain(w http.ResponseWriter, r *http.Request) {
	ask := r.URL.Query()
	q, err := proxy.NewQuestion(ask.Get("method"), ask.Get("url"), ask["header"], ask.Get("client"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "explain: "+err.Error())
		return
	}
	x := o.Explain(q)
	if strings.HasPrefix(r.Header.Get("Accept"), "text/plain") {
		say(w, strings.TrimSuffix(x.Text(), "\n"))
		return
	}
	answer(w, http.StatusOK, x)
}
