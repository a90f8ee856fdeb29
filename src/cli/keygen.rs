//! `sealstone keygen`: a signing key, and the keyring to hand to auditors.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Failure, answer};
use super::local_key;

/// Makes an Ed25519 signing key (PKCS#8 PEM, readable by you alone), and beside it keyring.json, its public half for auditors.
#[derive(Args)]
pub(super) struct KeygenArguments {
    /// Where to put it (default: ~/.local/share/sealstone/key.pem). A key is never written over
    #[arg(long, short, value_name = "FILE", env = "SEALSTONE_KEY")]
    out: Option<PathBuf>,
    /// Print {key, keyring, keyid} as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &KeygenArguments) -> Result<u8, Failure> {
    let path = arguments.out.clone().map_or_else(local_key::default_path, Ok)?;
    let key = local_key::make(&path).map_err(|error| local_key::cannot_make(&path, &error))?;
    let (keyid, keyring) = (key.public().keyid(), local_key::keyring_path(&path));
    let (path, keyring) = (path.display().to_string(), keyring.display().to_string());
    answer(&if arguments.json {
        serde_json::json!({ "key": path, "keyring": keyring, "keyid": keyid }).to_string() + "\n"
    } else {
        format!(
            "key      {path}   keep it secret\nkeyring  {keyring}   give it to auditors\nkeyid    {keyid}\n"
        )
    })?;
    Ok(0)
}
