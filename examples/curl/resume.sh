#!/usr/bin/env bash
# Sends a message and prints the events of its answer, with nothing but curl: after every lost connection it comes back
# with the id of the last event it has.
#
#   AGENTBUS_TOKEN=… ./resume.sh SESSION MESSAGE
set -euo pipefail

url=${AGENTBUS_URL:-http://127.0.0.1:18789}
session=${1:?usage: resume.sh SESSION MESSAGE}
message=${2:?usage: resume.sh SESSION MESSAGE}
auth="Authorization: Bearer ${AGENTBUS_TOKEN:?set it to a token: agentbus token create NAME}"

# A field of one line of JSON: a number, or a text without quotes in it.
field() { sed -E "s/.*\"$1\":\"?([^\",}]+).*/\1/"; }
escaped=$(printf '%s' "$message" | sed 's/\\/\\\\/g; s/"/\\"/g')

# The key makes it one message however often curl tries.
sent=$(curl -sS --fail-with-body --retry 5 --retry-all-errors "$url/api/v1/sessions/$session/messages" \
  -H "$auth" -H 'Content-Type: application/json' -H "Idempotency-Key: $session-$$-$(date +%s)" \
  -d "{\"message\":\"$escaped\"}")
run=$(field run_id <<<"$sent")
id=$(field epoch <<<"$sent").$(field from <<<"$sent")

over=
while [ -z "$over" ]; do
  event='' data='' next=$id
  while IFS= read -r line; do
    case $line in
      'id: '*) next=${line#id: } ;;
      'event: '*) event=${line#event: } ;;
      'data: '*) data=${line#data: } ;;
      'status: 2'*) [ "$line" != 'status: 204' ] || over=yes ;;
      'status: 4'*) echo "refused: HTTP ${line#status: }" >&2 && exit 1 ;;
      '')
        # An event counts once all of it is here: a connection may be lost in the middle of one.
        id=$next
        [ -z "$data" ] || printf '%s\n' "$data"
        [ "$event" != end ] || over=yes
        event='' data=''
        ;;
    esac
  done < <(curl -sN -w 'status: %{http_code}\n' "$url/api/v1/sessions/$session/events?until=$run" \
    -H "$auth" -H "Last-Event-ID: $id" || true)
  [ -n "$over" ] || sleep 0.5
done
