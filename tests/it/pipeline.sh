# A build as builds are: steps that write much, little or nothing, that fail, and some at once.
set -e
did() { echo "$1 $2" >> statuses; }
try() { # NAME … : its failure is none of the build's
    name=$1 status=0
    step "$@" || status=$?
    did "$name" $status
}
open
step quiet -- true
step hello -- sh -c 'echo hello'
step both -- sh -c 'for i in 1 2 3 4 5; do echo out $i; echo "! err $i" >&2; sleep 0.02; done'
try fails -- sh -c 'echo before; exit 3'
step bytes -- sh -c 'printf "\377\000\r\n\033[31mred\nno line feed"'
report event checkpoint --message first
step much -- seq 1 600000
try killed -- sh -c 'echo dying; kill -9 $$'
echo notes > notes.txt
report artifact notes.txt --id notes
report observe coverage 0.93 --basis notes
try absent -- sh -c 'no-such-program-anywhere 2> /dev/null'
step makes --artifact dist/tool -- sh -c 'mkdir -p dist; echo tool > dist/tool'
step slow -- sh -c 'for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.15; done'
try flaky -- sh -c 'echo once; exit 1'
step flaky.2 -- sh -c 'echo twice'
step sh -- sh -c 'echo unnamed'
step sh-2 -- sh -c 'echo unnamed again'
report step noted --kind test
report step noted --status passed --exit-code 0
step errors -- sh -c 'echo "! one" >&2; sleep 0.1; echo "! two" >&2'
step more -- sh -c 'seq 1 60000; sleep 0.3; seq 1 60000'
for i in 1 2 3; do step "same-$i" -- sh -c 'sleep 0.1; echo "of $0"' "$i"; done
report event checkpoint --message second
step report --artifact report=r.xml --kind test -- sh -c 'echo "<r/>" > r.xml; echo reported'
for i in 1 2 3; do step "beside-$i" -- sh -c 'sleep 0.$0; echo "beside $0"' "$i" > "beside-$i" & done
wait
cat beside-1 beside-2 beside-3
step long -- sh -c 'for i in 1 2 3 4 5; do seq 1 2000; sleep 0.3; done'
try exits -- sh -c 'exit 42'
echo late > late.txt
report artifact late.txt --id late
report observe late-size 5 --id late-size --basis late
for i in 1 2 3; do step "last-$i" -- echo "last $i"; done
step read -- sh -c 'cat; echo read' < notes.txt
step tail -- tail -n 1 notes.txt
report event custom:done
report finalize failed --reason 'steps failed'
echo built
exit 7
