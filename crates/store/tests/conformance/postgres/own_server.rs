//! A server that a test stops, restores or promotes.

use std::path::Path;
use std::process::Command;

use crate::postgres_server::{SUPERUSER, Server, as_user, run};

impl Server {
    /// Copies the data of the stopped server aside.
    pub(crate) fn save(&self) {
        run(Command::new("cp")
            .arg("-a")
            .arg(self.folder.join("data"))
            .arg(self.folder.join("saved")));
    }

    /// Replaces the data of the stopped server by what was saved.
    pub(crate) fn restore_saved(&self) {
        let (data, saved) = (self.folder.join("data"), self.folder.join("saved"));
        std::fs::remove_dir_all(&data).expect("the data folder");
        std::fs::rename(saved, data).expect("the data folder");
    }

    /// Starts the stopped server as a standby, and promotes it: it goes on on another timeline.
    pub(crate) fn start_promoted(&self) {
        run(as_user(Path::new("touch")).arg(self.folder.join("data/standby.signal")));
        self.control(&["start"]);
        self.control(&["promote"]);
    }

    /// Makes the copy that was saved a standby, which a second server of [`control_saved`](Self::control_saved) then is.
    pub(crate) fn mark_saved_as_standby(&self) {
        run(as_user(Path::new("touch")).arg(self.folder.join("saved/standby.signal")));
    }

    /// Deletes the copy that was saved.
    pub(crate) fn forget_saved(&self) {
        std::fs::remove_dir_all(self.folder.join("saved")).expect("the saved folder");
    }

    /// As [`control`](Self::control), for a second server on the copy that was saved.
    pub(crate) fn control_saved(&self, arguments: &[&str]) {
        let mut command = as_user(&self.binaries.join("pg_ctl"));
        command
            .arg("-D")
            .arg(self.folder.join("saved"))
            .args(arguments)
            .args(["-w", "-o", "-p 5433"]);
        run(command.arg("-l").arg(self.folder.join("saved/restarts.log")));
    }

    /// Asks every role but the superuser for a password from now on.
    pub(crate) fn require_passwords(&self) {
        let rules = format!("local all {SUPERUSER} trust\nlocal all all scram-sha-256\n");
        std::fs::write(self.folder.join("data/pg_hba.conf"), rules).expect("the rules");
        self.control(&["reload"]);
    }
}
