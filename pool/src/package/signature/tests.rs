use super::*;

pub(crate) mod gpg;
mod keyrings;

use gpg::Gpg;
use pgp::{
    packet::{Packet, PacketParser},
    ser::Serialize as _,
};

/// 2020-06-01, and a day.
const JUNE_2020: u64 = 1_590_969_600;
const DAY: u64 = 86_400;

fn ring(files: &[&PathBuf]) -> Keyring {
    Keyring::read(&files.iter().map(|file| (*file).clone()).collect::<Vec<_>>()).unwrap()
}

/// What is told to a client, and the key's flaw if that is it.
fn refusal(outcome: Result<Verified, SignatureError>) -> (String, Option<KeyFlaw>) {
    let error = outcome.unwrap_err();
    let text = error.to_string();
    let flaw = if let SignatureError::Key { flaw, .. } = error { Some(flaw) } else { None };
    (text, flaw)
}

fn flaw(outcome: Result<Verified, SignatureError>) -> KeyFlaw {
    let (text, flaw) = refusal(outcome);
    flaw.unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn signatures_of_rsa_and_ed25519_keys_hold_in_every_form() {
    let gpg = Gpg::new();
    let file = gpg.write("data", &vec![7; 300_000]);
    for algorithm in ["rsa2048", "rsa3072", "ed25519", "nistp256"] {
        let key = gpg.key(algorithm, "sign", "0");
        for armoured in [false, true] {
            let keys = ring(&[&gpg.export(&key, armoured)]);
            for more in [&[][..], &["--armor"]] {
                let verified = keys.verify(&file, &gpg.sign(&key, &file, more)).unwrap();
                assert_eq!(verified.fingerprint, key, "{algorithm}");
                assert_eq!(verified.key_id, key[24..], "{algorithm}");
                let age = SystemTime::now().duration_since(verified.signed_at).unwrap();
                assert!(age < Duration::from_mins(10), "{age:?}");
            }
            assert!(keys.accepts(&key) && keys.accepts(&key.to_lowercase()) && keys.unfit().is_empty());
        }
    }
}

#[test]
fn a_signature_of_other_bytes_or_of_a_stranger_is_refused() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let (ours, stranger) = (gpg.key("ed25519", "sign", "0"), gpg.key("ed25519", "sign", "0"));
    let keys = ring(&[&gpg.export(&ours, true)]);
    let good = gpg.sign(&ours, &file, &[]);
    let (text, _) = refusal(keys.verify(&gpg.write("other", b"dat4"), &good));
    assert_eq!(
        text,
        format!(
            "the signature of key {} does not fit: these are not the bytes that were signed",
            &ours[24..]
        )
    );
    let strange = gpg.sign(&stranger, &file, &[]);
    let (text, _) = refusal(keys.verify(&file, &strange));
    assert_eq!(text, format!("no trusted key has the id {} that the signature names", &stranger[24..]));
    assert!(!keys.accepts(&stranger));
    assert_eq!(named_keys(&strange).unwrap(), [&stranger[24..]]);
    assert!(matches!(keys.verify(Path::new("/nowhere"), &good), Err(SignatureError::Unreadable(_))));
    assert!(matches!(keys.verify(Path::new("/tmp"), &good), Err(SignatureError::Unreadable(_))));
}

#[test]
fn of_several_signatures_one_good_one_is_enough() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let (ours, stranger) = (gpg.key("ed25519", "sign", "0"), gpg.key("ed25519", "sign", "0"));
    let keys = ring(&[&gpg.export(&ours, true)]);
    for more in [&[][..], &["--armor"]] {
        let strange = gpg.sign(&stranger, &file, more);
        let both = [strange.clone(), gpg.sign(&ours, &file, more)].concat();
        assert_eq!(keys.verify(&file, &both).unwrap().fingerprint, ours);
        // The refusal is told of the key that is known, wherever it stands.
        let other = [strange.clone(), gpg.sign(&ours, &gpg.write("other", b"x"), more), strange].concat();
        assert!(matches!(keys.verify(&file, &other), Err(SignatureError::WrongData { .. })));
    }
    let many = gpg.sign(&ours, &file, &[]).repeat(MOST_SIGNATURES + 1);
    assert!(matches!(keys.verify(&file, &many), Err(SignatureError::Garbage(_))));
}

#[test]
fn signatures_expire_and_do_not_come_from_the_future() {
    let mut gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let key = gpg.time("20200101T000000").key("ed25519", "sign", "0");
    let keys = ring(&[&gpg.export(&key, false)]);
    let signature = gpg.time("20200601T000000").sign(&key, &file, &["--default-sig-expire", "1d"]);
    assert!(keys.verify_at(&file, &signature, JUNE_2020 + DAY - 1).is_ok());
    assert!(matches!(
        keys.verify_at(&file, &signature, JUNE_2020 + DAY),
        Err(SignatureError::Expired { .. })
    ));
    assert!(matches!(keys.verify(&file, &signature), Err(SignatureError::Expired { .. })));
    // Clocks may differ by five minutes.
    assert!(keys.verify_at(&file, &signature, JUNE_2020 - SKEW).is_ok());
    assert!(matches!(
        keys.verify_at(&file, &signature, JUNE_2020 - SKEW - 1),
        Err(SignatureError::Future { .. })
    ));
    let late = gpg.time("20370601T000000").sign(&key, &file, &[]);
    assert!(matches!(keys.verify(&file, &late), Err(SignatureError::Future { .. })));
    let early = gpg.time("20150101T000000").sign(&key, &file, &[]);
    assert_eq!(flaw(keys.verify(&file, &early)), KeyFlaw::TooYoung);
}

#[test]
fn the_end_of_a_key_ends_all_that_it_signed() {
    let mut gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let key = gpg.time("20200101T000000").key("ed25519", "sign", "1y");
    let short = ring(&[&gpg.export(&key, false)]);
    let signature = gpg.time("20200601T000000").sign(&key, &file, &[]);
    assert!(short.verify_at(&file, &signature, JUNE_2020 + DAY).is_ok());
    assert!(short.accepts_at(&key, JUNE_2020));
    assert_eq!(flaw(short.verify(&file, &signature)), KeyFlaw::Expired);
    assert!(!short.accepts(&key));
    assert_eq!(
        short.unfit(),
        [format!("signatures of the trusted key {} are refused: it has expired", &key[24..])]
    );
    // The owner prolongs it: what was signed holds again. Who has only the old key cannot know.
    gpg.time("20200701T000000").run(&["--quick-set-expire", &key, "0"]);
    let late = gpg.time("20220101T000000").sign(&key, &file, &[]);
    let long = ring(&[&gpg.export(&key, true)]);
    for signature in [&signature, &late] {
        assert!(long.verify(&file, signature).is_ok());
        assert_eq!(flaw(short.verify(&file, signature)), KeyFlaw::Expired);
    }
    // The newest word counts, also when it shortens.
    gpg.time("20220201T000000").run(&["--quick-set-expire", &key, "seconds=60"]);
    assert_eq!(flaw(ring(&[&gpg.export(&key, false)]).verify(&file, &late)), KeyFlaw::Expired);
}

#[test]
fn a_revoked_key_proves_nothing() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let key = gpg.key("ed25519", "sign", "0");
    let subkey = gpg.subkey(&key, "sign", "0");
    let signatures = [gpg.sign(&key, &file, &[]), gpg.sign(&subkey, &file, &[])];
    let before = gpg.export(&key, true);
    assert!(signatures.iter().all(|signature| ring(&[&before]).verify(&file, signature).is_ok()));
    // The revocation of somebody else revokes nothing.
    let stranger = gpg.key("ed25519", "sign", "0");
    let armoured = std::fs::read(&before).unwrap();
    let foreign = gpg.write("foreign", &[armoured.clone(), gpg.revocation(&stranger)].concat());
    assert!(ring(&[&foreign]).verify(&file, &signatures[0]).is_ok());
    // One that stands alone behind the key does, and so does an imported one, in whichever file it is.
    let alone = gpg.write("alone", &[armoured, gpg.revocation(&key)].concat());
    gpg.revoke(&key);
    let imported = gpg.export(&key, false);
    for files in [&[&alone][..], &[&imported], &[&before, &imported], &[&imported, &before]] {
        let keys = ring(files);
        for signature in &signatures {
            assert_eq!(flaw(keys.verify(&file, signature)), KeyFlaw::Revoked);
        }
        assert!(!keys.accepts(&key) && !keys.accepts(&subkey));
    }
    let (text, _) = refusal(ring(&[&imported]).verify(&file, &signatures[1]));
    let (key, subkey) = (&key[24..], &subkey[24..]);
    assert_eq!(
        text,
        format!("the signature was made by key {key} (the primary key of {subkey}), which is revoked")
    );
}

#[test]
fn a_subkey_signs_until_it_or_its_primary_key_ends() {
    let mut gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let key = gpg.time("20200101T000000").key("rsa2048", "cert", "0");
    let brief = gpg.subkey(&key, "sign", "1y");
    let lasting = gpg.time("20200102T000000").subkey(&key, "sign", "0");
    gpg.time("20200601T000000");
    let (old, new) = (gpg.sign(&brief, &file, &[]), gpg.sign(&lasting, &file, &[]));
    let keys = ring(&[&gpg.export(&key, true)]);
    assert_eq!(keys.verify_at(&file, &old, JUNE_2020).unwrap().fingerprint, brief);
    assert_eq!(flaw(keys.verify(&file, &old)), KeyFlaw::Expired);
    assert_eq!(keys.verify(&file, &new).unwrap().fingerprint, lasting);
    assert!(keys.accepts(&lasting) && !keys.accepts(&brief) && !keys.accepts(&key));
    let revoked_one = {
        gpg.revoke_first_subkey(&key);
        ring(&[&gpg.export(&key, true)])
    };
    assert_eq!(flaw(revoked_one.verify_at(&file, &old, JUNE_2020)), KeyFlaw::Revoked);
    assert!(revoked_one.verify(&file, &new).is_ok());
    gpg.time("20200701T000000").run(&["--quick-set-expire", &key, "1y"]);
    let keys = ring(&[&gpg.export(&key, true)]);
    assert_eq!(flaw(keys.verify(&file, &new)), KeyFlaw::Expired);
}

/// A stranger's key could be claimed as one's own subkey; only its agreement tells.
#[test]
fn a_subkey_that_does_not_agree_signs_nothing() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let key = gpg.key("ed25519", "cert", "0");
    let subkey = gpg.subkey(&key, "sign", "0");
    let signature = gpg.sign(&subkey, &file, &[]);
    let exported = std::fs::read(gpg.export(&key, false)).unwrap();
    let edited = |disagree: bool| {
        let mut bytes = Vec::new();
        for packet in PacketParser::new(exported.as_slice()) {
            let mut packet = packet.unwrap();
            if let Packet::Signature(binding) = &mut packet
                && let Some(at) = position_of_agreement(binding)
                && disagree
            {
                binding.unhashed_subpacket_remove(at).unwrap();
            }
            packet.to_writer(&mut bytes).unwrap();
        }
        bytes
    };
    assert_eq!(edited(false), exported);
    assert_ne!(edited(true), exported);
    let without = gpg.write("without", &edited(true));
    assert!(ring(&[&gpg.write("with", &edited(false))]).verify(&file, &signature).is_ok());
    assert_eq!(flaw(ring(&[&without]).verify(&file, &signature)), KeyFlaw::Unbound);
}

fn position_of_agreement(binding: &Signature) -> Option<usize> {
    binding
        .config()
        .unwrap()
        .unhashed_subpackets()
        .position(|part| matches!(part.data, SubpacketData::EmbeddedSignature(_)))
}

#[test]
fn weak_hashes_and_short_keys_prove_nothing() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let key = gpg.key("rsa2048", "sign", "0");
    let keys = ring(&[&gpg.export(&key, false)]);
    for hash in ["MD5", "SHA1", "RIPEMD160"] {
        let signature = gpg.sign(&key, &file, &["--digest-algo", hash]);
        let (text, _) = refusal(keys.verify(&file, &signature));
        let id = &key[24..];
        assert_eq!(
            text,
            format!(
                "the signature of key {id} is made with {hash}, which is too weak; sign with SHA-256 or stronger"
            )
        );
    }
    for hash in ["SHA256", "SHA384", "SHA512"] {
        assert!(keys.verify(&file, &gpg.sign(&key, &file, &["--digest-algo", hash])).is_ok(), "{hash}");
    }
    let short = gpg.key("rsa1024", "sign", "0");
    let keys = ring(&[&gpg.export(&short, false)]);
    assert_eq!(flaw(keys.verify(&file, &gpg.sign(&short, &file, &[]))), KeyFlaw::ShortRsa { bits: 1024 });
    let dsa = gpg.key("dsa2048", "sign", "0");
    let keys = ring(&[&gpg.export(&dsa, false)]);
    assert_eq!(flaw(keys.verify(&file, &gpg.sign(&dsa, &file, &[]))), KeyFlaw::Kind("DSA".to_owned()));
}

#[test]
fn a_key_that_says_nothing_reliable_of_itself_is_not_bound() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    gpg.run(&["--cert-digest-algo", "SHA1", "--quick-generate-key", "w <w@x>", "ed25519", "sign", "0"]);
    let listed = gpg.run(&["--with-colons", "--list-keys", "w@x"]);
    let listed = String::from_utf8(listed).unwrap();
    let sha1 = listed.lines().find(|line| line.starts_with("fpr")).unwrap().split(':').nth(9).unwrap();
    let keys = ring(&[&gpg.export(sha1, false)]);
    assert_eq!(flaw(keys.verify(&file, &gpg.sign(sha1, &file, &[]))), KeyFlaw::Unbound);
    // A name that was taken back says nothing any more; another one may.
    let key = gpg.key("ed25519", "sign", "0");
    let listed = String::from_utf8(gpg.run(&["--with-colons", "--list-keys", &key])).unwrap();
    let name = listed.lines().find(|line| line.starts_with("uid")).unwrap().split(':').nth(9).unwrap();
    gpg.run(&["--quick-add-uid", &key, "another <a@x>"]);
    let signature = gpg.sign(&key, &file, &[]);
    gpg.revoke_user(&key, name);
    let verify = |name: &str| {
        let filter = format!("keep-uid=uid =~ {name}");
        let exported = gpg.write("filtered", &gpg.run(&["--export-filter", &filter, "--export", &key]));
        ring(&[&exported]).verify(&file, &signature)
    };
    assert!(verify("@").is_ok());
    let (revoked, left) = (verify("k@example.org"), verify("a@x"));
    let unbound = [revoked, left].map(|outcome| outcome.is_err());
    assert_eq!(unbound, [true, false]);
}

#[test]
fn only_signatures_of_bytes_are_looked_at() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data\n");
    let key = gpg.key("ed25519", "sign", "0");
    let exported = gpg.export(&key, true);
    let keys = ring(&[&exported]);
    let text = gpg.sign(&key, &file, &["--textmode"]);
    assert!(matches!(keys.verify(&file, &text), Err(SignatureError::NotBinary { .. })));
    let path = file.to_str().unwrap();
    let clear = gpg.run(&["--local-user", &key, "--output", "-", "--clearsign", path]);
    let message = gpg.run(&["--local-user", &key, "--output", "-", "--sign", path]);
    let whole = gpg.sign(&key, &file, &[]);
    let armoured = gpg.sign(&key, &file, &["--armor"]);
    let cases: &[&[u8]] = &[
        b"",
        b"no signature at all",
        &[0xff; 100],
        &[0x80],
        &vec![b'\n'; LARGEST_SIGNATURE + 1],
        &std::fs::read(&exported).unwrap(),
        &clear,
        &message,
        &armoured[..armoured.len() / 2],
        b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
    ];
    for case in cases {
        let refused = keys.verify(&file, case);
        let shown = String::from_utf8_lossy(&case[..case.len().min(60)]);
        assert!(
            matches!(refused, Err(SignatureError::Garbage(_) | SignatureError::Damaged(_))),
            "{shown:?}: {refused:?}"
        );
    }
    // Cut or changed anywhere: never good, never a panic.
    for at in 0..whole.len() {
        assert!(keys.verify(&file, &whole[..at]).is_err(), "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 1;
        if keys.verify(&file, &changed).is_ok() {
            // The issuer is a hint outside of what is signed; the fingerprint inside names the key as well.
            assert!(named_keys(&changed).unwrap() == named_keys(&whole).unwrap(), "changed at {at}");
        }
    }
}

#[test]
fn a_policy_asks_only_where_keys_are_trusted() {
    let gpg = Gpg::new();
    let key = gpg.key("ed25519", "sign", "0");
    assert!(SignaturePolicy::NotNeeded.accepts(None));
    let required = SignaturePolicy::Required(Arc::new(ring(&[&gpg.export(&key, true)])));
    assert!(required.accepts(Some(&key)));
    assert!(!required.accepts(None) && !required.accepts(Some("00")) && !required.accepts(Some("")));
    assert!(format!("{required:?}").contains(&key));
}
