//! What manifests and settings widen, and what nothing opens.

use reqwest::{Method, multipart};
use serde_json::json;

use super::{EACCES, PROBE, probe, reached, refused, serving};
use crate::harness::{Answered, Package, par, scratch};

#[tokio::test]
async fn permissions_and_settings_widen_as_written() {
    let folder = scratch();
    let place = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).expect("a directory");
        std::fs::write(path.join("file"), name).expect("a file");
        path.display().to_string()
    };
    let (read, written, shared) = (place("read"), place("written"), place("shared"));
    let manifest = format!("permissions: {{fs_read: [{read:?}], fs_write: [{written:?}, cache/deep]}}");
    let par = serving(folder.path(), &[probe("wide", &manifest), probe("narrow", "")])
        .setting("sandbox_read", json!([shared]))
        .start()
        .await;
    reached(&par, "wide", &format!("out = read({:?})", format!("{read}/file"))).await;
    refused(&par, "wide", &[EACCES], &format!("write({:?})", format!("{read}/file"))).await;
    reached(&par, "wide", &format!("write({:?})", format!("{written}/new"))).await;
    reached(&par, "wide", "write(tempfile.gettempdir() + '/cache/deep/new')").await;
    for agent in ["wide", "narrow"] {
        reached(&par, agent, &format!("out = read({:?})", format!("{shared}/file"))).await;
        refused(&par, agent, &[EACCES], &format!("write({:?})", format!("{shared}/file"))).await;
    }
    for path in [&read, &written] {
        refused(&par, "narrow", &[EACCES], &format!("out = read({:?})", format!("{path}/file"))).await;
    }
}

#[tokio::test]
async fn no_permission_leads_to_the_runtime_or_to_passwords() {
    let folder = scratch();
    let par = par().production().agent("echo").allow("package_failed").start().await;
    let data = par.data_dir().display().to_string();
    for (number, (permission, path)) in [
        ("fs_read", data.clone()),
        ("fs_write", format!("{data}/packages")),
        ("fs_read", "../..".to_owned()),
        ("fs_read", "/etc/shadow".to_owned()),
        ("fs_write", "/proc".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let manifest = format!("permissions: {{{permission}: [{path:?}]}}");
        let package =
            Package::new("greedy", &format!("1.0.{number}"), &format!("entrypoint: main:run\n{manifest}"));
        let bytes = package.file("main.py", PROBE).bytes();
        let file = multipart::Part::bytes(bytes).file_name("greedy.apkg");
        let form = multipart::Form::new().part("file", file);
        let request = par.operator().request(Method::POST, "/runtime/packages/upload").multipart(form);
        let told = request.answer().await.problem(422, "package_invalid");
        assert_eq!(told["step"], "template", "{told}");
        assert!(told["detail"].to_string().contains(&format!("permissions.{permission}")), "{told}");
    }
    // What contains it is granted without it.
    let above = probe("above", "permissions: {fs_read: [/]}").apkg(folder.path());
    let par = par.stop().await.without_sources().source(above).start().await;
    reached(
        &par,
        "above",
        &format!("out = read({:?})", folder.path().join("above-1.0.0.apkg").display().to_string()),
    )
    .await;
    for path in [format!("{data}/operator.token"), "/etc/shadow".to_owned()] {
        refused(&par, "above", &[EACCES], &format!("out = read({path:?})")).await;
    }
    refused(&par, "above", &[EACCES], "out = os.listdir('/dev')").await;
}

#[tokio::test]
async fn the_file_of_settings_is_out_of_sight() {
    let folder = scratch();
    let wide =
        probe("wide", &format!("permissions: {{fs_read: [{:?}]}}", folder.path().display().to_string()));
    let settings = folder.path().join("par.yaml");
    std::fs::write(&settings, "sandbox: require\n").expect("a file");
    std::fs::write(folder.path().join("beside"), "x").expect("a file");
    let par = serving(folder.path(), &[wide]).env("PAR_CONFIG", settings.display().to_string()).start().await;
    reached(&par, "wide", &format!("out = read({:?})", folder.path().join("beside").display().to_string()))
        .await;
    refused(&par, "wide", &[EACCES], &format!("out = read({:?})", settings.display().to_string())).await;
    let told = par.package("wide@1.0.0").await.expect("it is mounted, since all that is required is there");
    assert_eq!(told["sandbox"]["level"], "full", "{told}");
    assert_eq!(told["sandbox"]["missing"], json!([]), "{told}");
    let layers = told["sandbox"]["layers"].to_string();
    for layer in ["landlock-", "seccomp", "workers", "rlimits", "no_new_privs", "capabilities"] {
        assert!(layers.contains(layer), "{layers}");
    }
}
