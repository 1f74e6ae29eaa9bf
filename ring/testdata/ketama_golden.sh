#!/bin/sh
# Writes ketama_*.golden beside itself: where a real nginx sends keys by
# "hash KEY consistent". Needs nginx, curl and awk, and the right to listen on
# 127.0.0.2:80; everything stays on the loopback. The names of the servers are
# what is hashed, hence the fixed ports and socket path.
#
# Every server answers 503 and nginx is told to go on with the next one, so
# its log shows for each key the order of the servers it would ask. After
# passing over 20 points nginx falls back to round robin; the depths below end
# well before that.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
nginx=$(command -v nginx || echo /usr/sbin/nginx)
keys=4000 # key i is "key-" and i in decimal

# golden NAME DEPTH SERVER... records the first DEPTH servers of each key. A
# server is "ADDRESS WEIGHT [down]".
golden() {
	name=$1
	depth=$2
	shift 2
	out=$here/ketama_$name.golden
	{
		echo "# Made by ketama_golden.sh with $("$nginx" -v 2>&1 | sed 's/.*: //')."
		echo "# For the keys key-0 to key-$((keys - 1)) in turn: the first $depth servers nginx asks,"
		echo "# a being the first one listed."
		for server; do echo "server $server"; done
	} >"$out"
	{
		cat <<-CONF
			daemon off;
			pid $work/pid;
			error_log $work/error.log crit;
			events { worker_connections 512; }
			http {
			client_body_temp_path $work/t1;
			proxy_temp_path $work/t2;
			fastcgi_temp_path $work/t3;
			uwsgi_temp_path $work/t4;
			scgi_temp_path $work/t5;
			log_format walk \$upstream_addr;
			access_log off;
			keepalive_requests 1000000;
			upstream golden {
			hash \$arg_k consistent;
		CONF
		for server; do
			echo "$server" | awk '{ print "server", $1, "weight=" $2, "max_fails=0", $3 ";" }'
		done
		cat <<-CONF
			}
			server {
			listen unix:$work/front;
			access_log $work/walks walk;
			location / {
			proxy_pass http://golden;
			proxy_next_upstream error http_503;
			}
			}
			server {
		CONF
		for port in 18081 18082 18083 18084 18085 18086; do
			echo "listen 127.0.0.1:$port; listen [::1]:$port;"
		done
		echo "listen 127.0.0.2:80; listen unix:/tmp/ringfence-golden.sock; return 503; } }"
	} >"$work/conf"

	rm -f "$work/walks" /tmp/ringfence-golden.sock
	"$nginx" -c "$work/conf" &
	pid=$!
	trap 'kill $pid 2>/dev/null || :; rm -rf "$work" /tmp/ringfence-golden.sock' EXIT
	curl -s --retry 20 --retry-delay 1 --retry-all-errors --retry-max-time 20 \
		--unix-socket "$work/front" -o /dev/null http://x/ready || :
	: >"$work/walks"
	curl -s --unix-socket "$work/front" -o /dev/null "http://x/?k=key-[0-$((keys - 1))]"
	kill $pid
	wait $pid || :

	# From addresses to letters; a name that resolves to two addresses is
	# asked twice, and counts once.
	for server; do echo "$server"; done | awk -v depth=$depth '
		NR == FNR {
			at = tolower($1)
			letter = sprintf("%c", 96 + NR)
			if (at == "127.0.0.2") at = at ":80"
			sub(/^localhost:/, "127.0.0.1:", at)
			name[at] = letter
			sub(/^127.0.0.1:/, "[::1]:", at)
			name[at] = letter
			next
		}
		{
			gsub(/,/, "")
			word = ""
			for (i = 1; i <= NF && length(word) < depth; i++) {
				l = name[tolower($i)]
				if (l == "") l = "?"
				if (substr(word, length(word)) != l) word = word l
			}
			printf "%s%s", word, FNR % 20 ? " " : "\n"
		}' - "$work/walks" >>"$out"
}

golden equal 3 '127.0.0.1:18081 1' '127.0.0.1:18082 1' '127.0.0.1:18083 1' '127.0.0.1:18084 1' '127.0.0.1:18085 1'
golden mixed 3 '127.0.0.1:18081 1' '127.0.0.1:18082 2' '127.0.0.1:18083 3' '127.0.0.1:18084 5' '127.0.0.1:18085 4'
golden down 2 '127.0.0.1:18081 1' '127.0.0.1:18082 2' '127.0.0.1:18083 3 down' '127.0.0.1:18084 5' '127.0.0.1:18085 4'
golden names 3 '127.0.0.2 1' 'LocalHost:18082 2' 'UNIX:/tmp/ringfence-golden.sock 1' '127.0.0.1:18084 1'
