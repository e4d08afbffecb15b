//! Users and groups by the databases of the system.

use std::ffi::{CStr, CString};
use std::io;

/// The longest entry that is read, in bytes.
const ENTRY_MAX: usize = 1 << 20;

/// The number of the user of this name, if there is one.
pub fn uid_of(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    entry(|buffer| {
        let mut found = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut result = std::ptr::null_mut();
        // SAFETY: the name ends with NUL, the buffer is as long as is said, and what is written goes to places of ours.
        let error = unsafe {
            libc::getpwnam_r(name.as_ptr(), found.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut result)
        };
        // SAFETY: without an error and with a result that is not null, the entry is written.
        (error, (error == 0 && !result.is_null()).then(|| unsafe { found.assume_init() }.pw_uid))
    })
}

/// The number of the group of this name, if there is one.
pub fn gid_of(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    entry(|buffer| {
        let mut found = std::mem::MaybeUninit::<libc::group>::uninit();
        let mut result = std::ptr::null_mut();
        // SAFETY: the name ends with NUL, the buffer is as long as is said, and what is written goes to places of ours.
        let error = unsafe {
            libc::getgrnam_r(name.as_ptr(), found.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut result)
        };
        // SAFETY: without an error and with a result that is not null, the entry is written.
        (error, (error == 0 && !result.is_null()).then(|| unsafe { found.assume_init() }.gr_gid))
    })
}

/// The name of a user, if it has one.
pub fn name_of(uid: u32) -> io::Result<Option<String>> {
    entry(|buffer| {
        let mut found = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut result = std::ptr::null_mut();
        // SAFETY: the buffer is as long as is said, and what is written goes to places of ours.
        let error =
            unsafe { libc::getpwuid_r(uid, found.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut result) };
        // SAFETY: without an error and with a result that is not null, the entry is written, and its name is a string that
        // ends with NUL in the buffer, which is still there.
        let name = (error == 0 && !result.is_null())
            .then(|| unsafe { CStr::from_ptr(found.assume_init().pw_name) }.to_string_lossy().into_owned());
        (error, name)
    })
}

/// The name of a group, if it has one.
pub fn group_name_of(gid: u32) -> io::Result<Option<String>> {
    entry(|buffer| {
        let mut found = std::mem::MaybeUninit::<libc::group>::uninit();
        let mut result = std::ptr::null_mut();
        // SAFETY: the buffer is as long as is said, and what is written goes to places of ours.
        let error =
            unsafe { libc::getgrgid_r(gid, found.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut result) };
        // SAFETY: without an error and with a result that is not null, the entry is written, and its name is a string that
        // ends with NUL in the buffer, which is still there.
        let name = (error == 0 && !result.is_null())
            .then(|| unsafe { CStr::from_ptr(found.assume_init().gr_name) }.to_string_lossy().into_owned());
        (error, name)
    })
}

/// Asks with a buffer that is long enough. An entry that is not there is told by several errors, as getpwnam(3) says.
fn entry<T>(mut ask: impl FnMut(&mut [libc::c_char]) -> (libc::c_int, Option<T>)) -> io::Result<Option<T>> {
    let mut buffer = vec![0; 4096];
    loop {
        match ask(&mut buffer) {
            (0, found) => return Ok(found),
            (libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM, _) => return Ok(None),
            (libc::EINTR, _) => {}
            (libc::ERANGE, _) if buffer.len() < ENTRY_MAX => buffer.resize(buffer.len() * 4, 0),
            (error, _) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_nobody_else_of_no_name() {
        assert_eq!(uid_of("root").unwrap(), Some(0));
        assert_eq!(gid_of("root").unwrap(), Some(0));
        assert_eq!(name_of(0).unwrap().as_deref(), Some("root"));
        assert_eq!(group_name_of(0).unwrap().as_deref(), Some("root"));
        assert_eq!(group_name_of(3_999_999_999).unwrap(), None);
        for none in ["", "no such user", "a\0b"] {
            assert_eq!(uid_of(none).unwrap(), None, "{none:?}");
            assert_eq!(gid_of(none).unwrap(), None, "{none:?}");
        }
        assert_eq!(name_of(3_999_999_999).unwrap(), None);
    }
}
