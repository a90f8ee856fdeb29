#!/usr/bin/env python3
"""Holds sealed envelopes against tools that know nothing of Sealstone.

    check.py --public-key KEY.pem [--node-modules DIR] [--schemas DIR] [--self-test] FILE...

Every file must be accepted by every stranger:

    openssl           the command verifies the Ed25519 signature over DSSE's PAE
    securesystemslib  verifies the seal as a DSSE envelope, finding the key by its keyid
    in-toto           in-toto-attestation reads the payload as a Statement, losing nothing
    rfc8785           makes the same bytes of the file, and of the payload
    digest            SHA-256 over rfc8785's form of the envelope is the digest that the Statement names
    npm               canonicalize makes the same bytes of the file
    jsonschema        the file, and the payload, pass the published schemas

The first file is also tampered with in several ways, each of which must be rejected by the strangers it concerns and
by no other; with --self-test the other files are left out. No network. The exit status is 1 when anything failed.
"""

import argparse
import base64
import copy
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import referencing
import rfc8785
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.v1 import statement, statement_pb2
from securesystemslib import dsse
from securesystemslib.signer import SSlibKey

HERE = Path(__file__).resolve().parent
SCHEMA = "sealed-envelope.v1.json"


class Rejected(Exception):
    pass


def same(what, got, want):
    """Raises with the place where `got` leaves `want`."""
    if got == want:
        return
    if isinstance(got, bytes) and isinstance(want, bytes):
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        got, want = got[max(0, at - 20) : at + 40], want[max(0, at - 20) : at + 40]
        what += f" differs at byte {at}"
    raise Rejected(f"{what}: got {got!r}, want {want!r}")


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True)
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).decode(errors="replace").split())
        raise Rejected(f"{command[0]} exits with {done.returncode}: {said[:500]}")
    return done.stdout


class Sealed:
    """A sealed envelope file, as any JSON and base64 reader sees it."""

    def __init__(self, raw):
        self.raw = raw
        self.doc = json.loads(raw)
        if "seal" not in self.doc:
            raise Rejected("there is no seal")
        self.seal = self.doc["seal"]
        self.payload = base64.b64decode(self.seal["payload"], validate=True)


class Strangers:
    def __init__(self, args, scratch):
        self.public_key, self.node_modules, self.scratch = args.public_key, args.node_modules, scratch
        # What an envelope calls the key is what a stranger computes with: openssl pkey -pubin -outform DER | sha256sum
        self.keyid = hashlib.sha256(run("openssl", "pkey", "-pubin", "-in", args.public_key, "-outform", "DER")).hexdigest()
        self.key = SSlibKey.from_crypto(load_pem_public_key(args.public_key.read_bytes()), keyid=self.keyid)
        schemas = {path.name: json.loads(path.read_bytes()) for path in args.schemas.glob("*.json")}
        for schema in schemas.values():
            jsonschema.Draft202012Validator.check_schema(schema)
        self.schema_id = schemas[SCHEMA]["$id"]
        # A registry that retrieves nothing: a $ref which leads out of the directory is an error.
        self.registry = referencing.Registry().with_resources(
            (schema["$id"], referencing.Resource.from_contents(schema)) for schema in schemas.values()
        )
        self.checks = {
            "openssl": self.openssl, "securesystemslib": self.securesystemslib, "in-toto": self.in_toto,
            "rfc8785": self.rfc8785, "digest": self.digest, "npm": self.npm, "jsonschema": self.jsonschema,
        }

    def file(self, name, content):
        path = self.scratch / name
        path.write_bytes(content)
        return path

    def signature(self, seal):
        """The signature that names the key."""
        named = [signature for signature in seal["signatures"] if signature["keyid"] == self.keyid]
        same(f"signatures with keyid {self.keyid}", len(named), 1)
        return named[0]

    def openssl(self, sealed):
        kind = sealed.seal["payloadType"].encode()
        pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(sealed.payload), sealed.payload)
        sig = base64.b64decode(self.signature(sealed.seal)["sig"], validate=True)
        pae, sig = self.file("pae", pae), self.file("sig", sig)
        run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", self.public_key, "-rawin", "-in", pae, "-sigfile", sig)

    def securesystemslib(self, sealed):
        envelope = dsse.Envelope.from_dict(copy.deepcopy(sealed.seal))  # from_dict changes what it is given
        accepted = envelope.verify([self.key], threshold=1)
        same("accepted keys", list(accepted), [self.keyid])

    def in_toto(self, sealed):
        message = json_format.Parse(sealed.payload, statement_pb2.Statement())
        statement.Statement.copy_from_pb(message).validate()
        same("Statement, read and written", json_format.MessageToDict(message), json.loads(sealed.payload))

    def rfc8785(self, sealed):
        same("canonical file", rfc8785.dumps(sealed.doc), sealed.raw)
        same("canonical payload", rfc8785.dumps(json.loads(sealed.payload)), sealed.payload)

    def digest(self, sealed):
        digest = hashlib.sha256(rfc8785.dumps(sealed.doc["envelope"])).hexdigest()
        stated = json.loads(sealed.payload)
        same("predicate.envelope_digest", stated["predicate"]["envelope_digest"], f"sha256:{digest}")
        run_subject = {"name": f"run/{sealed.doc['envelope']['evidence_id']}", "digest": {"sha256": digest}}
        same("subject[0]", stated["subject"][0], run_subject)

    def npm(self, sealed):
        where = ["--node-modules", self.node_modules] if self.node_modules else []
        path = self.file("file.json", sealed.raw)
        same("canonical file", run("node", HERE / "canonicalize.mjs", *where, path), sealed.raw)

    def jsonschema(self, sealed):
        for ref, value in (("", sealed.doc), ("#/$defs/statement", json.loads(sealed.payload))):
            schema = {"$ref": self.schema_id + ref}
            validator = jsonschema.Draft202012Validator(schema, registry=self.registry)
            error = jsonschema.exceptions.best_match(validator.iter_errors(value))
            if error is not None:
                raise Rejected(f"{SCHEMA}{ref}: {error.json_path}: {error.message[:300]}")

    def verdicts(self, raw):
        """For each check its name and what it objects to, or None."""
        for name, check in self.checks.items():
            try:
                check(Sealed(raw))
            except Exception as error:  # whatever way a stranger chooses to refuse
                yield name, f"{type(error).__name__}: {error}"
                continue
            yield name, None

    def tampered(self, raw):
        """Yields (what was done, the bytes, the checks that must reject them)."""

        def edited(edit):
            doc = json.loads(raw)
            edit(doc)
            return rfc8785.dumps(doc)

        def in_payload(old, new):
            def edit(doc):
                payload = base64.b64decode(doc["seal"]["payload"])
                assert old in payload and len(old) == len(new)
                doc["seal"]["payload"] = base64.b64encode(payload.replace(old, new)).decode()

            return edited(edit)

        def in_sig(doc):
            signature = self.signature(doc["seal"])
            sig = base64.b64decode(signature["sig"])
            signature["sig"] = base64.b64encode(bytes([sig[0] ^ 1]) + sig[1:]).decode()

        def in_element(doc):
            at = doc["envelope"]["run"]["recorded_at"]
            doc["envelope"]["run"]["recorded_at"] = at[:-2] + ("1Z" if at[-2] == "0" else "0Z")

        signers = {"openssl", "securesystemslib"}
        yield "payload", in_payload(b'"name":"run/', b'"name":"ruN/'), signers | {"digest"}
        yield "statement-type", in_payload(b"Statement/v1", b"Statement/v2"), signers | {"in-toto", "jsonschema"}
        yield "sig", edited(in_sig), signers
        yield "keyid", edited(lambda doc: self.signature(doc["seal"]).update(keyid="0" * 64)), signers
        yield "element", edited(in_element), {"digest"}
        yield "element-form", edited(lambda doc: doc["envelope"]["run"].update(seq="0")), {"digest", "jsonschema"}
        yield "spelling", raw.replace(b"{", b"{ ", 1), {"rfc8785", "npm"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public-key", type=Path, required=True, help="PEM file (SPKI) of the key that sealed")
    parser.add_argument("--node-modules", type=Path, help="the node_modules directory that holds canonicalize")
    parser.add_argument("--schemas", type=Path, default=HERE.parent.parent / "schemas", help="default: %(default)s")
    parser.add_argument("--self-test", action="store_true", help="check and tamper with the first file alone")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    args = parser.parse_args()
    outcomes = []

    def report(check, file, objection):
        outcomes.append(objection is None)
        print(f"ok {check} {file}" if objection is None else f"FAILED {check} {file}: {objection}", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        strangers = Strangers(args, Path(scratch))
        for file in args.files[:1] if args.self_test else args.files:
            for check, objection in strangers.verdicts(file.read_bytes()):
                report(check, file, objection)
            # Where the untouched file fails already, its rejection shows nothing.
            if file == args.files[0] and all(outcomes):
                for what, raw, must in strangers.tampered(file.read_bytes()):
                    rejecting = {check for check, objection in strangers.verdicts(raw) if objection is not None}
                    wrong = None if rejecting == must else f"rejected by {sorted(rejecting)}, not by {sorted(must)}"
                    report(f"self-test:{what}", file, wrong)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
