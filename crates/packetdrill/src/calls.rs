//! What stands in the table: each turns its pointers into what the adapter takes, and an error
//! into -1 and `errno`. The text of `Interface` says which call of libc each is like.

mod addresses;
mod buffers;
mod netdev;
mod options;
mod sockets;
mod transfer;
mod unsupported;
mod waiting;

pub(crate) use addresses::address_bytes;

use crate::adapter::Adapter;
use crate::machine::Errno;
use crate::table::{Interface, Userdata};
use netdev::{netdev_receive, netdev_send};
use options::{getsockopt, packhorse_variadic_fcntl, packhorse_variadic_ioctl, setsockopt};
use sockets::{accept, bind, close, connect, listen, shutdown, socket};
use transfer::{read, readv, recv, recvfrom, recvmsg, send, sendmsg, sendto, write, writev};
use unsupported::{epoll_create, epoll_ctl, epoll_wait, pipe, splice};
use waiting::{gettimeofday, poll, usleep};

/// The table for a host.
pub(crate) fn interface(userdata: Userdata) -> Interface {
    Interface {
        userdata,
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        fcntl: packhorse_variadic_fcntl,
        ioctl: packhorse_variadic_ioctl,
        close,
        shutdown,
        getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    }
}

/// The adapter behind a table.
///
/// # Safety
/// `userdata` comes from `packetdrill_interface_init`, and `free` was not called.
pub(crate) unsafe fn adapter<'a>(userdata: Userdata) -> &'a Adapter {
    // SAFETY: it was a box of an adapter, which lives until `free`.
    unsafe { &*userdata.cast::<Adapter>() }
}

/// An outcome as C has it.
fn answer<T: From<i8>>(outcome: Result<T, Errno>) -> T {
    outcome.unwrap_or_else(|Errno(number)| {
        // SAFETY: the address is that of this thread's `errno`.
        unsafe { *libc::__errno_location() = number };
        T::from(-1)
    })
}

unsafe extern "C" fn free(userdata: Userdata) {
    // SAFETY: the box of `packetdrill_interface_init`, which C lets go of only once.
    drop(unsafe { Box::from_raw(userdata.cast::<Adapter>()) });
}
