//! Audits of the files, with and without a server.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use serde_json::{Value, json};

use super::{flip, live, shown, stateward, verified};
use crate::harness::Setup;

#[tokio::test(flavor = "multi_thread")]
async fn the_files_say_the_same_as_the_server_that_has_them_open() {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    live(&server.client, 3).await;
    server.client.settled().await;
    let data = setup.data();
    let over_rest = verified(&server.client, None).await["checkpoint"].clone();
    let kept = stateward(&["audit", "checkpoint", "--offline", "--data", shown(&data)]).await;
    assert_eq!(kept.code, Some(0), "{}", kept.err);
    let checkpoint: Value = serde_json::from_str(&kept.out).unwrap();
    assert_eq!(checkpoint["log_id"], over_rest["log_id"]);
    assert!(checkpoint["count"].as_u64() >= over_rest["count"].as_u64());
    let report = verified(&server.client, Some(&json!({ "against": checkpoint }))).await;
    assert_eq!(report["ok"], true, "{report:#}");

    let file = setup.folder.path().join("checkpoint.json");
    std::fs::write(&file, &kept.out).unwrap();
    let verify =
        ["audit", "verify", "--offline", "--data", shown(&data), "--against", shown(&file)];
    for alive in [true, false] {
        let said = stateward(&verify).await;
        assert_eq!(said.code, Some(0), "alive {alive}: {}{}", said.out, said.err);
        assert!(said.out.starts_with("ok: "), "{}", said.out);
        if alive {
            assert!(server.terminate().await.success());
        }
    }
    flip(&data.join("events.db"), "access.token_issued", 10, 4);
    let said = stateward(&verify).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    let row = said.out.lines().find(|line| line.starts_with("access/main")).expect("it is named");
    assert_eq!(row.split_whitespace().nth(1), Some("2"), "{row}");
    assert!(said.out.contains(" fault(s): "), "{}", said.out);
    let said =
        stateward(&["audit", "verify", "--offline", "--data", shown(&data), "-o", "json"]).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["ok"], said.code), (&json!(false), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_no_checkpoint_is_one_clear_line() {
    let setup = Setup::new("");
    let none = setup.folder.path().join("none");
    let not = setup.folder.path().join("stateward.toml");
    for (arguments, names) in [
        (vec!["audit", "verify", "--offline", "--data", shown(&none)], "there is no log"),
        (vec!["audit", "checkpoint", "--offline", "--data", shown(&none)], "there is no log"),
        (vec!["audit", "export", "--offline", "--data", shown(&none)], "there is no log"),
        (vec!["backup", "--data", shown(&none), "--to", shown(&not)], "there is no log"),
        (vec!["restore", "--from", shown(&none), "--data", shown(&not)], "there is no log"),
        (vec!["audit", "import", shown(&none), "--data", shown(&none)], "cannot read"),
        (
            vec!["audit", "verify", "--offline", "--data", shown(&none), "--against", shown(&not)],
            "no checkpoint",
        ),
    ] {
        let said = stateward(&arguments).await;
        assert_eq!(said.code, Some(1), "{arguments:?}");
        assert!(said.err.contains(names), "{arguments:?}: {}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{arguments:?}: {}", said.err);
        assert!(!none.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_replaces_a_file_and_no_device_pipe_or_link() {
    let setup = Setup::new("");
    let server = setup.start().await;
    live(&server.client, 1).await;
    let (data, folder) = (setup.data(), setup.folder.path().join("exports"));
    std::fs::create_dir(&folder).unwrap();
    let (file, link, pipe) = (folder.join("file"), folder.join("link"), folder.join("pipe"));
    symlink("file", &link).unwrap();
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for offline in [false, true] {
        let export = async |to: &Path| {
            let mut arguments = vec!["audit", "export", "--data", shown(&data), "-o", shown(to)];
            arguments.extend(offline.then_some("--offline"));
            let said = stateward(&arguments).await;
            assert_eq!(said.code, Some(0), "offline {offline}: {}", said.err);
        };
        std::fs::write(&file, "an older one").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        export(&link).await;
        assert!(link.is_symlink());
        assert!(std::fs::read_to_string(&file).unwrap().lines().count() > 10);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read_to_string(pipe).unwrap()
        });
        export(&pipe).await;
        assert!(reader.join().unwrap().lines().count() > 10);
        assert!(pipe.metadata().unwrap().file_type().is_fifo());
        export(Path::new("/dev/null")).await;
        assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "a part is left behind");
    }
}
