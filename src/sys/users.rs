//! The names of users and groups, from wherever the system has them.

use std::ffi::{CStr, CString};

/// A user, as the system knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number of the group that the user belongs to first of all.
    pub group: u32,
}

/// Bytes for the texts of an entry, at first and at most.
const ENTRY: usize = 4096;
const MAX_ENTRY: usize = 1 << 20;

/// Calls one of the system's functions with more and more room, until its answer
/// fits; `None` if there is no entry.
fn look_up<E, T>(
    mut call: impl FnMut(*mut E, *mut libc::c_char, usize, *mut *mut E) -> libc::c_int,
    found: impl Fn(&E) -> T,
) -> Option<T> {
    let mut size = ENTRY;
    while size <= MAX_ENTRY {
        let mut entry = std::mem::MaybeUninit::<E>::uninit();
        let mut texts: Vec<libc::c_char> = vec![0; size];
        let mut result = std::ptr::null_mut();
        match call(entry.as_mut_ptr(), texts.as_mut_ptr(), size, &raw mut result) {
            0 if result.is_null() => return None,
            0 => {
                // SAFETY: the call succeeded and says so by a result that is
                // not null; the entry is filled in then, and the texts it
                // points to live in `texts`, which is still there.
                #[allow(unsafe_code)]
                return Some(found(unsafe { entry.assume_init_ref() }));
            }
            libc::ERANGE => size *= 4,
            libc::EINTR => {}
            _ => return None,
        }
    }
    None
}

fn text(pointer: *const libc::c_char) -> String {
    // SAFETY: the system's functions give texts that end with a NUL.
    #[allow(unsafe_code)]
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_string_lossy().into_owned()
}

/// The user with a number.
pub fn user(id: u32) -> Option<User> {
    look_up::<libc::passwd, _>(
        |entry, texts, size, result| {
            // SAFETY: all pointers are to room of the sizes that are said.
            #[allow(unsafe_code)]
            unsafe {
                libc::getpwuid_r(id, entry, texts, size, result)
            }
        },
        |entry| User { name: text(entry.pw_name), group: entry.pw_gid },
    )
}

/// The number of the user with a name.
pub fn id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    look_up::<libc::passwd, _>(
        |entry, texts, size, result| {
            // SAFETY: all pointers are to room of the sizes that are said, and
            // the name ends with a NUL.
            #[allow(unsafe_code)]
            unsafe {
                libc::getpwnam_r(name.as_ptr(), entry, texts, size, result)
            }
        },
        |entry| entry.pw_uid,
    )
}

/// A group, as the system knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The number of the group.
    pub group: u32,
    /// The names of the users that are listed with it.
    pub names: Vec<String>,
}

/// The group with a name.
pub fn members(name: &str) -> Option<Members> {
    find_group(name, |entry| Members { group: entry.gr_gid, names: texts(entry.gr_mem) })
}

/// The texts of a list that ends with a null pointer.
fn texts(list: *mut *mut libc::c_char) -> Vec<String> {
    let mut found = Vec::new();
    if list.is_null() {
        return found;
    }
    for index in 0.. {
        // SAFETY: the system's lists end with a null pointer, and this stops there.
        #[allow(unsafe_code)]
        let entry = unsafe { *list.add(index) };
        if entry.is_null() {
            break;
        }
        found.push(text(entry));
    }
    found
}

/// The number of the group with a name.
fn group(name: &str) -> Option<u32> {
    find_group(name, |entry| entry.gr_gid)
}

fn find_group<T>(name: &str, found: impl Fn(&libc::group) -> T) -> Option<T> {
    let name = CString::new(name).ok()?;
    look_up::<libc::group, _>(
        |entry, texts, size, result| {
            // SAFETY: all pointers are to room of the sizes that are said, and
            // the name ends with a NUL.
            #[allow(unsafe_code)]
            unsafe {
                libc::getgrnam_r(name.as_ptr(), entry, texts, size, result)
            }
        },
        found,
    )
}

/// Whether a user belongs to the group with a name.
pub fn is_member(user: &User, group_name: &str) -> bool {
    /// No system lets a user be in more groups.
    const MAX_GROUPS: usize = 65_536;
    let (Some(wanted), Ok(name)) = (group(group_name), CString::new(user.name.as_str())) else {
        return false;
    };
    if user.group == wanted {
        return true;
    }
    let mut room = 64;
    while room <= MAX_GROUPS {
        let mut groups: Vec<libc::gid_t> = vec![0; room];
        // At most MAX_GROUPS.
        let mut count = room as libc::c_int;
        // SAFETY: there is room for as many groups as `count` says, and the name
        // ends with a NUL.
        #[allow(unsafe_code)]
        let answer =
            unsafe { libc::getgrouplist(name.as_ptr(), user.group, groups.as_mut_ptr(), &raw mut count) };
        if answer >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return groups.contains(&wanted);
        }
        room *= 8;
    }
    false
}

/// Gives up the rights that this thread has and not everybody; others keep
/// theirs. Without any to give up, this does nothing.
///
/// # Errors
/// Errors of the system.
pub fn become_nobody() -> std::io::Result<()> {
    use rustix::process::{Gid, Uid};
    /// The user that owns nothing, by the number that all systems give it.
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    // The groups first: afterwards nobody may.
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known() {
        let root = user(0);
        assert_eq!(root, Some(User { name: "root".to_owned(), group: 0 }));
        assert!(root.as_ref().is_some_and(|root| is_member(root, "root")));
        assert!(root.is_some_and(|root| !is_member(&root, "no-such-group")));
        assert_eq!(user(u32::MAX - 7), None);
        assert_eq!(id("root"), Some(0));
        assert_eq!(id("no-such-user"), None);
        assert!(members("root").is_some_and(|root| root.group == 0));
        assert_eq!(members("no-such-group"), None);
    }
}
