//! The least that sending the same bytes to many sockets can cost: a loop of `write(2)`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// The name of this server among the variants.
pub(crate) const FLOOR: &str = "floor";

/// Serves one controlling connection, which comes first and says `write BYTES`, and after it any number that are written to.
/// Ends when the controlling one does.
pub(crate) fn serve_floor() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    println!("{address}\n{address}");
    let (control, _) = listener.accept().expect("accepted");
    let mut answers = control.try_clone().expect("a second handle");
    let mut sockets: Vec<TcpStream> = Vec::new();
    for order in BufReader::new(control).lines() {
        let order = order.expect("text");
        match order.split_once(' ') {
            Some(("accept", count)) => {
                let count: usize = count.parse().expect("a number");
                sockets.extend((0..count).map(|_| listener.accept().expect("accepted").0));
            }
            Some(("write", bytes)) => {
                let frame = frame_of(bytes.parse().expect("a number"));
                for socket in &mut sockets {
                    // Into the socket's empty buffer, so never in part.
                    assert_eq!(socket.write(&frame).expect("written"), frame.len());
                }
            }
            _ => sockets.clear(),
        }
        answers.write_all(b"done\n").expect("written");
    }
}

/// A text frame of WebSocket with so many bytes of text.
fn frame_of(bytes: usize) -> Vec<u8> {
    let length = u16::try_from(bytes).expect("a short frame").to_be_bytes();
    let mut frame = vec![0x81, 126, length[0], length[1]];
    frame.resize(4 + bytes, b'x');
    frame
}
