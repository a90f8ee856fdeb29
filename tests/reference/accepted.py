"""What the service accepted and sealed, judged by the reference implementation: every file must be `verified`.

The tests keep the files where SEALSTONE_KEEP says: DIR/accepted-*.json by DIR/key.pem, DIR/life/life.json by DIR/life/key.pem.
"""
import argparse, pathlib, sys

sys.dont_write_bytecode = True
parser = argparse.ArgumentParser()
parser.add_argument("--reference", required=True)
parser.add_argument("--kept", required=True, type=pathlib.Path)
arguments = parser.parse_args()
sys.path.insert(0, arguments.reference)
import sealstone_ref as ref

judged = 0
for folder in (arguments.kept, arguments.kept / "life"):
    keyring = ref.keyring((folder / "key.pem").read_bytes())
    for path in sorted(folder.glob("*.json")):
        report = ref.verify(path.read_bytes(), keyring)
        if report["verdict"] != "verified":
            sys.exit(f"{path}: {report['verdict']}, {report['first_failure']}")
        judged += 1
if judged < 100:
    sys.exit(f"{judged} files in {arguments.kept}: too few to say anything")
print(f"{judged} envelopes of accepted requests: all verified by the reference")
