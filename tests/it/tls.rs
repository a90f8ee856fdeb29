//! TLS: spoken with the certificate that was given, and by nobody who does not trust it.

use std::path::Path;

use crate::place::{Place, Ran};
use crate::server::Server;

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls").join(name).to_str().unwrap().to_owned()
}

#[test]
fn who_trusts_the_certificate_is_served_and_nobody_else() {
    let place = Place::new();
    let made = place.run(&["token", "create", "ci", "--role", "admin", "--data-dir", "records"]);
    // A name for the machine at large, which needs both a token and TLS.
    let (certificate, key) = (data("server.pem"), data("server.key.pem"));
    let server = Server::start(&place, &["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(server.address.starts_with("https://"), "{}", server.address);
    let url = server.address.replace("127.0.0.1", "localhost");
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("SEALSTONE_SERVER", &url).env("SEALSTONE_TOKEN", made.stdout.trim());
        Ran::from(command.output().unwrap())
    };
    let opened = run(&["run", "open", "--project", "p", "--no-subject", "--ca", &data("ca.pem")]);
    assert_eq!(opened.status, 0, "{opened:?}");
    let stranger = run(&["run", "open", "--project", "p", "--no-subject", "--require-evidence"]);
    assert!(stranger.status == 1 && stranger.stderr.contains("certificate"), "{stranger:?}");
    // A token is sent to nobody in the open, and no password stands in an address.
    let refused =
        run(&["run", "open", "--project", "p", "--no-subject", "--server", "http://ci.example.org"]);
    assert!(refused.status == 64 && refused.stderr.contains("https://"), "{refused:?}");
    let refused =
        run(&["run", "open", "--project", "p", "--no-subject", "--server", "https://a:secret@localhost"]);
    assert!(refused.status == 64 && !refused.stderr.contains("secret"), "{refused:?}");
    let in_the_open = url.replace("https", "http");
    let refused = run(&[
        "run",
        "open",
        "--project",
        "p",
        "--no-subject",
        "--server",
        &in_the_open,
        "--require-evidence",
        "--flush-timeout",
        "300ms",
    ]);
    assert_eq!(refused.status, 69, "{refused:?}");
}

#[test]
fn a_certificate_or_key_that_is_none_is_told_before_anything_is_served() {
    let place = Place::new();
    let (certificate, key) = (data("server.pem"), data("server.key.pem"));
    for (arguments, tells) in [
        (["--tls-cert", &key, "--tls-key", &key], "no certificate in it"),
        (["--tls-cert", &certificate, "--tls-key", &certificate], "PEM files of a certificate chain"),
        (["--tls-cert", "nothing.pem", "--tls-key", &key], "nothing.pem"),
        (["--tls-cert", &data("ca.pem"), "--tls-key", &key], "ca.pem"),
    ] {
        let told = Server::try_start(&place, &arguments).err().expect("it started");
        assert!(told.starts_with("2 ") && told.contains(tells), "{told}");
        assert!(!told.contains("PRIVATE KEY-----"), "{told}");
    }
}
