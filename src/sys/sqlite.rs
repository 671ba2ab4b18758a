//! The one SQLite control that the binding does not offer.

use rusqlite::Connection;

/// Keeps the write-ahead log and its index in place when the last connection
/// closes, as the other programs of a store do: users who may read but not
/// create files next to the database depend on them.
pub fn keep_wal_files(connection: &Connection) {
    let mut on: std::os::raw::c_int = 1;
    // SAFETY: the handle is that of an open connection that outlives the call;
    // a null name means the main database; SQLITE_FCNTL_PERSIST_WAL reads and
    // writes one int through the pointer.
    #[allow(unsafe_code)]
    unsafe {
        rusqlite::ffi::sqlite3_file_control(
            connection.handle(),
            std::ptr::null(),
            rusqlite::ffi::SQLITE_FCNTL_PERSIST_WAL,
            std::ptr::from_mut(&mut on).cast(),
        );
    }
}
