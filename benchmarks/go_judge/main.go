// What stands behind nginx's auth_request, in Go: the same checks as benchmarks/peers/judge_service.py.
//
//	judge SOCKET ROWS
//
// On each request: the certificate is registered and neither revoked nor past its end, the session lives, is not idle,
// and was opened with this certificate. Maps only: a real one would ask a database now and then, and be slower.
package main

import (
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	cookieName = "__Host-ib-session"
	idle       = 15 * time.Minute
)

type certificate struct{ issuer, serial string }

type user struct {
	name string
	ends time.Time
}

type session struct {
	certificate certificate
	ends        time.Time
	lastUsed    time.Time
}

type judge struct {
	lock     sync.Mutex
	users    map[certificate]user
	revoked  map[certificate]struct{}
	sessions map[string]*session
}

func newJudge(rows map[string]string) *judge {
	now := time.Now()
	shown := certificate{rows["issuer"], rows["serial"]}
	return &judge{
		users:    map[certificate]user{shown: {rows["user"], now.Add(24 * time.Hour)}},
		revoked:  map[certificate]struct{}{},
		sessions: map[string]*session{rows["session"]: {shown, now.Add(8 * time.Hour), now}},
	}
}

// The status, and the user where it is 204.
func (j *judge) decide(shown certificate, token string, now time.Time) (int, string) {
	j.lock.Lock()
	defer j.lock.Unlock()
	registered, known := j.users[shown]
	_, revoked := j.revoked[shown]
	if !known || revoked || !now.Before(registered.ends) {
		return http.StatusForbidden, ""
	}
	opened, known := j.sessions[token]
	if !known || opened.certificate != shown || !now.Before(opened.ends) || now.Sub(opened.lastUsed) > idle {
		return http.StatusUnauthorized, ""
	}
	opened.lastUsed = now
	return http.StatusNoContent, registered.name
}

func (j *judge) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	token := ""
	if cookie, err := request.Cookie(cookieName); err == nil {
		token = cookie.Value
	}
	shown := certificate{request.Header.Get("X-Certificate-Issuer"), request.Header.Get("X-Certificate-Serial")}
	status, name := j.decide(shown, token, time.Now())
	if status == http.StatusNoContent {
		answer.Header().Set("X-User-ID", name)
	}
	answer.WriteHeader(status)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: judge SOCKET ROWS")
	}
	content, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	rows := map[string]string{}
	if err := json.Unmarshal(content, &rows); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		<-told
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, newJudge(rows)))
}
