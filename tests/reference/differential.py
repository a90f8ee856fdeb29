"""Random changes to valid envelopes, judged by the reference implementation and by `sealstone verify`: verdict, failed codes,
first failure and withheld count must be the same.

Some mutants are changed only, some get their chain computed anew, some are sealed again with the trusted test key, so that faults of every
stage are reached. The same seed makes the same mutants.
"""
import argparse, copy, json, os, random, subprocess, sys, tempfile

sys.dont_write_bytecode = True
WORDS = [None, True, False, 0, 1, -1, 1.5, "", "x", "a/b", [], {}, [None], {"x": 1}, "2026-11-21T08:00:00.000Z", "passed", "failed", "skipped",
         "approved", "rejected", "succeeded", "sha256:" + "0" * 64, {"$withheld": "sha256:" + "0" * 64}, {"$withheld": 5}]


def places(node, at=()):
    """Paths to every value below `node`."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield at + (key,)
        yield from places(value, at + (key,))


def reach(node, path):
    for key in path:
        node = node[key]
    return node


def mutate(doc, dice):
    """One random change; which kinds are possible depends on the place."""
    path = dice.choice(list(places(doc)))
    holder, key = reach(doc, path[:-1]), path[-1]
    act = dice.randrange(7)
    if act == 0:
        holder[key] = copy.deepcopy(dice.choice(WORDS))
    elif act == 1:
        del holder[key]
    elif act == 2 and isinstance(holder, list):
        holder.insert(dice.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
    elif act == 3 and isinstance(holder, list):
        dice.shuffle(holder)
    elif act == 4 and isinstance(holder, dict):
        holder[dice.choice(["x", "note", "attempt", "status", "$withheld", key + "_"])] = copy.deepcopy(dice.choice(WORDS))
    elif isinstance(holder[key], int) and not isinstance(holder[key], bool):
        holder[key] += dice.choice([-1, 1])
    elif isinstance(holder[key], str) and holder[key]:
        i = dice.randrange(len(holder[key]))
        holder[key] = holder[key][:i] + dice.choice("0aZé/~") + holder[key][i + 1:]
    else:
        holder[key] = copy.deepcopy(dice.choice(WORDS))


def settle(ref, doc, how, key):
    """Computes the chain anew (1), and seals again (2), as far as the mutant lets it."""
    try:
        env = doc["envelope"]
        prev, by_seq = bytes(32), {e["seq"]: e for _, _, e in ref.elements(env)}
        for n, link in enumerate(env["integrity"]["hash_chain"]):
            digest = ref.sha(ref.jcs(by_seq[n])) if n in by_seq else bytes.fromhex(link["digest"][7:])
            prev = ref.link(prev, n, digest)
            link["digest"], link["entry_hash"] = ref.text(digest), ref.text(prev)
        env["integrity"]["head_entry_hash"] = ref.text(prev)
        if how == 2:
            doc["seal"] = ref.seal(env, (key,), "2026-11-21T08:05:00.250Z")["seal"]
    except Exception:  # the mutant is beyond mending; judge it as it is
        pass


def known_difference(ref, data):
    """Where the format's page and the reference differ, and we follow the page."""
    try:
        env = ref.parse(data)["envelope"]
        # Section 6: an element, or a link of the run, that has the member `$withheld` is a commitment where none may be.
        return any("$withheld" in e for _, _, e in ref.elements(env)) or any("$withheld" in link for link in env["run"].get("links", []))
    except Exception:
        return False


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--reference", required=True); ap.add_argument("--sealstone", required=True); ap.add_argument("--vectors", required=True)
    ap.add_argument("--mutants", type=int, default=3000); ap.add_argument("--seed", type=int, default=8785)
    a = ap.parse_args()
    sys.path.insert(0, os.path.abspath(a.reference))
    import sealstone_ref as ref
    dice, key = random.Random(a.seed), ref.Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
    pem = os.path.join(a.vectors, "keys", "trusted.pub.pem")
    ring = ref.keyring(open(pem, "rb").read())
    folder = os.path.join(a.vectors, "valid")
    valid = [ref.parse(open(os.path.join(folder, n), "rb").read()) for n in sorted(os.listdir(folder)) if n != "many-steps.json"]
    differ = skipped = judged = 0
    verdicts = {}
    with tempfile.TemporaryDirectory() as place:
        while judged < a.mutants:
            files = {}
            for i in range(min(250, a.mutants - judged)):
                doc = copy.deepcopy(dice.choice(valid))
                for _ in range(dice.choice([1, 1, 1, 2, 3])):
                    try: mutate(doc, dice)
                    except (KeyError, IndexError, TypeError): pass
                settle(ref, doc, dice.randrange(3), key)
                path = os.path.join(place, f"{i}.json")
                with open(path, "wb") as out: out.write(json.dumps(doc, indent=dice.choice([None, 1]), ensure_ascii=dice.random() < 0.5).encode())
                files[path] = open(path, "rb").read()
            ran = subprocess.run([a.sealstone, "verify", "--json", "--keys", pem, *files], stdout=subprocess.PIPE, check=False)
            reports = {line["path"]: line["report"] for line in map(json.loads, ran.stdout.decode().splitlines())}
            for path, data in files.items():
                judged += 1
                if known_difference(ref, data): skipped += 1; continue
                want, got = ref.verify(data, ring), reports[path]
                got = {"verdict": got["verdict"], "failed": sorted({c["code"] for c in got["checks"] if c["status"] == "fail"}),
                       "first": (got["first_failure"] or {}).get("code"), "withheld": got["withheld"]}
                verdicts[want["verdict"]] = verdicts.get(want["verdict"], 0) + 1
                if want != got:
                    differ += 1
                    if differ <= 5: print("DIFFERS", json.dumps(want), json.dumps(got), data[:2000].decode(), sep="\n  ")
    print(f"{judged} mutants: {verdicts}, {skipped} where the page and the reference differ")
    print(f"{judged - skipped - differ} passed, {differ} failed")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
