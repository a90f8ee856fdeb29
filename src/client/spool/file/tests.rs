use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::*;

fn random() -> Random {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Arc::new(|| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        bytes
    })
}

fn report(n: u64) -> Keyed {
    let json = format!(r#"{{"attempt":1,"key":"k","offset":{n},"step_id":"s","stream":"stdout"}}"#);
    Keyed::decode(format!("{json}\nlines of a log").as_bytes()).unwrap()
}

fn state(n: u64) -> Object<'static> {
    Object::from_iter([("n", Value::count(n))])
}

/// A file of two reports, a mark and a report, and where each of its frames ends.
fn written(directory: &TempDir) -> (PathBuf, Vec<usize>) {
    let path = directory.path().join("1-a.spool");
    let (key, random) = (SpoolKey::of_token("sst_a"), random());
    let header = Header::new("http://a/", "p/r", &key, &random).unwrap();
    let mut file = SpoolFile::create(path.clone(), header, &key, random).unwrap();
    let mut ends = vec![file.bytes() as usize];
    for n in [0, 1] {
        file.push(&report(n)).unwrap();
        ends.push(file.bytes() as usize);
    }
    file.acknowledge();
    file.mark(state(7)).unwrap();
    ends.push(file.bytes() as usize);
    file.push(&report(2)).unwrap();
    ends.push(file.bytes() as usize);
    (path, ends)
}

fn open(path: &Path) -> Result<SpoolFile, SpoolError> {
    SpoolFile::open(path, &SpoolKey::of_token("sst_a"), random())
}

/// The reports that wait.
fn waiting(file: &mut SpoolFile) -> Vec<Keyed> {
    std::iter::from_fn(|| {
        let front = file.front().unwrap();
        file.acknowledge();
        front
    })
    .collect()
}

#[test]
fn a_file_that_ends_anywhere_has_what_was_whole_and_nothing_of_it_is_cut_off() {
    let directory = TempDir::new().unwrap();
    let (path, ends) = written(&directory);
    let whole = fs::read(&path).unwrap();
    for length in ends[0]..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut file = open(&path).unwrap();
        let frames = ends.iter().filter(|end| **end <= length).count() - 1;
        let expected: Vec<Keyed> = match frames {
            0 => vec![],
            1 => vec![report(0)],
            2 => vec![report(0), report(1)],
            3 => vec![report(1)],
            _ => vec![report(1), report(2)],
        };
        assert_eq!(file.unread().is_some(), !ends.contains(&length), "{length}");
        assert_eq!(file.state().is_some(), frames >= 3, "{length}");
        assert_eq!(file.push(&report(9)).is_ok(), file.unread().is_none(), "{length}");
        assert!(fs::read(&path).unwrap().starts_with(&whole[..length]), "{length}");
        assert!(waiting(&mut file).starts_with(&expected), "{length}");
    }
}

#[test]
fn a_byte_that_is_another_is_told_and_nothing_wrong_is_read() {
    let directory = TempDir::new().unwrap();
    let (path, ends) = written(&directory);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x21;
        fs::write(&path, &bytes).unwrap();
        match open(&path) {
            Err(SpoolError::NotASpool | SpoolError::DamagedHeader) => assert!(at < ends[0], "{at}"),
            Err(error) => panic!("{at}: {error}"),
            Ok(mut file) => {
                let unread = file.unread();
                assert!(unread.is_some(), "{at}");
                assert!(file.push(&report(9)).is_err(), "{at}");
                if let Some(Unread::Damaged { frame }) = unread {
                    assert!(ends[frame as usize] <= at, "{at}");
                }
                let all = [report(0), report(1), report(2)];
                assert!(waiting(&mut file).iter().all(|read| all.contains(read)), "{at}");
                assert_eq!(fs::read(&path).unwrap(), bytes, "it is left as it is");
            }
        }
    }
}

#[test]
fn what_is_no_spool_file_or_of_another_version_is_told() {
    let directory = TempDir::new().unwrap();
    let (path, _) = written(&directory);
    let whole = fs::read(&path).unwrap();
    let later = String::from_utf8_lossy(&whole[..whole.iter().position(|b| *b == b'\n').unwrap() + 1])
        .replace("spool.v1", "spool.v2");
    for bytes in
        [b"".to_vec(), b"\n".to_vec(), b"{}\n".to_vec(), vec![0; 9_000], vec![0xff; 9_000], later.into()]
    {
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(open(&path), Err(SpoolError::NotASpool)));
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::write(&path, &whole).unwrap();
    let other = SpoolFile::open(&path, &SpoolKey::of_token("sst_b"), random());
    assert!(matches!(other, Err(SpoolError::WrongKey { source: KeySource::Token })));
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(SpoolError::InUse)));
    drop(first);
    assert!(open(&path).is_ok());
}

#[test]
fn a_header_that_somebody_changed_is_not_believed() {
    let directory = TempDir::new().unwrap();
    let (path, ends) = written(&directory);
    let whole = fs::read(&path).unwrap();
    let (mut header, _) = Header::read(&path).unwrap();
    header.server = "http://b/".into();
    fs::write(&path, [&header.line(), &whole[ends[0]..]].concat()).unwrap();
    assert!(matches!(open(&path), Err(SpoolError::DamagedHeader)));
    header.digest = header.digest_of_all().to_string();
    fs::write(&path, [&header.line(), &whole[ends[0]..]].concat()).unwrap();
    assert!(matches!(open(&path), Err(SpoolError::WrongKey { .. })));
}
