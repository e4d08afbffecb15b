//! The accounts of this machine: who somebody is by number.

use std::ffi::{CStr, c_char};
use std::ptr;

/// The longest text about an account that is taken, in bytes.
const TEXT_MAX: usize = 1 << 20;

/// The name of a user, by whatever the machine looks names up in; `None` where it knows none.
pub fn user_name(uid: u32) -> Option<String> {
    let mut text: Vec<c_char> = vec![0; 4096];
    loop {
        // SAFETY: passwd is a struct of numbers and pointers, for which zeros are a value.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to memory of ours that outlives the call, and the length is that of the buffer.
        let status = unsafe { libc::getpwuid_r(uid, &mut entry, text.as_mut_ptr(), text.len(), &mut found) };
        if status == libc::ERANGE && text.len() < TEXT_MAX {
            text.resize(text.len() * 2, 0);
            continue;
        }
        if status != 0 || found.is_null() || entry.pw_name.is_null() {
            return None;
        }
        // SAFETY: an entry that was found has a name that ends with NUL, in the buffer above.
        let name = unsafe { CStr::from_ptr(entry.pw_name) };
        return Some(name.to_string_lossy().into_owned());
    }
}

/// The user who logged in to the session that the process belongs to, whoever it has become since; `None` where nobody did, as in
/// a service, or the kernel keeps no such account.
pub fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 7), None);
    }
}
