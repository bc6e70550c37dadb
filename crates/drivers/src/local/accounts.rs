//! Users and groups, by name (from the system's databases) or by numeric id.

use nix::unistd::{Gid, Group, Uid, User};
use rustix::io::Errno;
use stateward_domain::failure::{ErrorClass, Failure};

use super::errors;

const NAME_BYTES_MAX: usize = 256;

/// A user or a group, as named in a desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    Id(u32),
    Name(String),
}

impl Account {
    /// Reads a name, or digits as an id.
    ///
    /// # Errors
    /// A message for people that says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // The kernel reads the greatest id as "unchanged", so no file can belong to it.
            let id = text.parse().ok().filter(|id| *id != u32::MAX);
            return id.map(Self::Id).ok_or_else(|| "is no id of a user or a group".to_owned());
        }
        let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/');
        if text.is_empty() || text.starts_with(['-', '+']) || text.contains(strange) {
            return Err("must be a name or a numeric id".to_owned());
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(format!("is longer than {NAME_BYTES_MAX} bytes"));
        }
        Ok(Self::Name(text.to_owned()))
    }

    /// The canonical spelling.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Name(name) => name.clone(),
        }
    }

    /// The id of the user.
    ///
    /// # Errors
    /// `Invalid` if no user has the name; a failure if the database cannot be read.
    pub(super) fn uid(&self) -> Result<u32, Failure> {
        self.id("unknown_owner", "user", |name| {
            Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
        })
    }

    /// The id of the group; errors as for [`uid`](Self::uid).
    pub(super) fn gid(&self) -> Result<u32, Failure> {
        let find = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
        self.id("unknown_group", "group", find)
    }

    fn id(
        &self,
        code: &str,
        noun: &str,
        find: impl Fn(&str) -> nix::Result<Option<u32>>,
    ) -> Result<u32, Failure> {
        let name = match self {
            Self::Id(id) => return Ok(*id),
            Self::Name(name) => name,
        };
        let found = known(find(name))
            .map_err(|errno| errors::below_root(errno, &format!("look up the {noun}")))?;
        found.ok_or_else(|| {
            let message = format!("this system knows no {noun} called {name}");
            Failure::harmless(ErrorClass::Invalid, code, message)
        })
    }
}

/// The name of a user; the id as text if the user has no name.
pub(super) fn user(uid: u32) -> Result<String, Errno> {
    let user = known(User::from_uid(Uid::from_raw(uid)))?;
    Ok(user.map_or_else(|| uid.to_string(), |user| user.name))
}

/// The name of a group; the id as text if the group has no name.
pub(super) fn group(gid: u32) -> Result<String, Errno> {
    let group = known(Group::from_gid(Gid::from_raw(gid)))?;
    Ok(group.map_or_else(|| gid.to_string(), |group| group.name))
}

/// Maps the errors that mean "no such entry" to `None`; `ENOENT` also means that there is no database, see getpwnam(3).
fn known<T>(found: nix::Result<Option<T>>) -> Result<Option<T>, Errno> {
    use nix::errno::Errno as Code;
    match found {
        Err(Code::ENOENT | Code::ESRCH | Code::EBADF | Code::EPERM) => Ok(None),
        Err(error) => Err(Errno::from_raw_os_error(error as i32)),
        Ok(found) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_have_one_spelling() {
        for (text, spelled) in
            [("0", "0"), ("0033", "33"), ("www-data", "www-data"), ("a@b.c", "a@b.c")]
        {
            assert_eq!(Account::parse(text).map(|account| account.text()), Ok(spelled.to_owned()));
        }
        let long = "x".repeat(257);
        for bad in ["", "-1", "+1", "4294967295", "99999999999", "a:b", "a b", "a/b", "a\n", &long]
        {
            assert!(Account::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_of_the_desired_state_and_an_unknown_id_is_its_own_name() {
        let unknown = Account::Name("no-such-account".to_owned());
        let (owner, group) = (unknown.uid().unwrap_err(), unknown.gid().unwrap_err());
        assert_eq!((owner.class, owner.code.as_str()), (ErrorClass::Invalid, "unknown_owner"));
        assert_eq!((group.class, group.code.as_str()), (ErrorClass::Invalid, "unknown_group"));
        assert_eq!(known::<()>(Err(nix::Error::ENOENT)), Ok(None), "a system without accounts");
        assert_eq!(known::<()>(Err(nix::Error::EMFILE)), Err(Errno::MFILE));
        assert_eq!(user(0).as_deref(), Ok("root"));
        assert_eq!(user(4_000_000_000).as_deref(), Ok("4000000000"));
        assert_eq!(super::group(4_000_000_000).as_deref(), Ok("4000000000"));
        assert_eq!(Account::Name("root".to_owned()).uid(), Ok(0));
    }
}
