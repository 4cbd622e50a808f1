//! What a file of trusted keys may be.

use super::*;

#[test]
fn files_of_keys_are_public_keys_and_nothing_else() {
    let gpg = Gpg::new();
    let file = gpg.write("data", b"data");
    let (one, two) = (gpg.key("ed25519", "sign", "0"), gpg.key("rsa2048", "sign", "0"));
    let (first, second) = (gpg.export(&one, true), gpg.export(&two, true));
    let joined = gpg.write(
        "joined",
        &[b"Our keys\n\n".to_vec(), std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap()].concat(),
    );
    let exported_together = gpg.write("together", &gpg.run(&["--export", &one, &two]));
    for files in [&[&first, &second][..], &[&joined], &[&exported_together], &[&joined, &first]] {
        let keys = ring(files);
        for key in [&one, &two] {
            assert_eq!(keys.verify(&file, &gpg.sign(key, &file, &[])).unwrap().fingerprint, *key);
        }
        assert_eq!(keys.certificates.signers().count(), 2);
    }
    let told = |file: &Path| Keyring::read(&[first.clone(), file.to_owned()]).unwrap_err();
    for armour in [&[][..], &["--armor"]] {
        let secret = gpg.write("secret", &gpg.run(&[armour, &["--export-secret-keys", &one]].concat()));
        assert!(matches!(told(&secret), KeyringError::SecretKey { .. }));
    }
    let exported = std::fs::read(gpg.export(&one, false)).unwrap();
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("text", b"hello".to_vec()),
        ("signature", gpg.sign(&one, &file, &[])),
        ("revocation", gpg.revocation(&one)),
    ] {
        let file = gpg.write(name, &bytes);
        assert!(matches!(told(&file), KeyringError::NoKey { .. }), "{name}: {}", told(&file));
        assert!(told(&file).to_string().starts_with(&file.display().to_string()), "{name}");
    }
    for (name, bytes, damaged) in [
        ("cut", exported[..exported.len() - 1].to_vec(), true),
        ("noise", vec![0xff; 64], true),
        ("armour", std::fs::read(&first).unwrap()[..200].to_vec(), true),
        ("signature.asc", gpg.sign(&one, &file, &["--armor"]), false),
        (
            "message",
            gpg.run(&["--local-user", &one, "--output", "-", "--sign", file.to_str().unwrap()]),
            false,
        ),
    ] {
        let error = told(&gpg.write(name, &bytes));
        let wanted = if damaged {
            matches!(error, KeyringError::Damaged { .. })
        } else {
            matches!(error, KeyringError::Garbage { .. })
        };
        assert!(wanted, "{name}: {error}");
    }
    let large = gpg.write("large", &vec![0; LARGEST_KEYRING as usize + 1]);
    assert!(matches!(told(&large), KeyringError::TooLarge { .. }));
    assert!(matches!(told(Path::new("/nowhere")), KeyringError::Unreadable { .. }));
}
