//! What librdkafka knows and its wrapper does not show: the only file of the workspace with `unsafe` code.
//!
//! Two facts that promises rest on have no safe way: whether a message that failed may be in the log all the same, and which
//! topic stands behind a name. Both functions take values of the wrapper that keep what they point to alive for the whole call, and
//! give nothing back that points into C.
#![expect(unsafe_code, reason = "the wrapper has neither rd_kafka_message_status nor rd_kafka_DescribeTopics")]

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::message::BorrowedMessage;

/// Whether a message whose delivery was reported is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persisted {
    /// Certainly not, and it never will be.
    No,
    /// It was sent, and what became of it is not known.
    Possibly,
    /// It is.
    Yes,
}

/// The status of a message in its delivery report.
pub(crate) fn persisted(message: &BorrowedMessage<'_>) -> Persisted {
    // SAFETY: the pointer is that of the message that `message` borrows, which its event keeps alive. It comes from a delivery
    // report of librdkafka, so it is part of the larger private structure that the function reads, and only reads.
    let status = unsafe { c::rd_kafka_message_status(message.ptr()) };
    match status {
        c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Persisted::No,
        c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Persisted::Possibly,
        c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Persisted::Yes,
    }
}

/// A value of C that is given back when it goes out of scope.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer was made by librdkafka for its caller to give back with this function, and is given back once.
            unsafe { (self.1)(self.0) };
        }
    }
}

/// The identity that the cluster gave to the topic when it was created; `None` when it has none to tell, or cannot be asked now.
///
/// Blocks for at most `timeout`, and a little.
pub(crate) fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Option<u128> {
    let name = CString::new(topic).ok()?;
    let mut names = [name.as_ptr()];
    let timeout_ms = i32::try_from(timeout.as_millis()).ok()?;
    let native = client.native_ptr();
    // SAFETY: `native` lives as long as `client`, which is borrowed for the whole call. `names` lives until the collection, which
    // copies it, is made. Every pointer that is ours is held by `Owned`, which gives it back after the last use, the queue and the
    // event before the client; the description, the error and the identity belong to the event, and are read before it goes. What may
    // be null is checked. The error text buffer is declared with its true size.
    unsafe {
        let topics = Owned(
            c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            c::rd_kafka_TopicCollection_destroy,
        );
        let options = Owned(
            c::rd_kafka_AdminOptions_new(native, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            c::rd_kafka_AdminOptions_destroy,
        );
        let queue = Owned(c::rd_kafka_queue_new(native), c::rd_kafka_queue_destroy);
        if topics.0.is_null() || options.0.is_null() || queue.0.is_null() {
            return None;
        }
        let mut text = [0; 128];
        c::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, text.as_mut_ptr(), text.len());
        c::rd_kafka_DescribeTopics(native, topics.0, options.0, queue.0);
        let event = Owned(c::rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(500)), c::rd_kafka_event_destroy);
        if event.0.is_null() || c::rd_kafka_event_error(event.0) != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let descriptions = c::rd_kafka_DescribeTopics_result_topics(result, ptr::from_mut(&mut count));
        if descriptions.is_null() || count == 0 {
            return None;
        }
        let description = *descriptions;
        let error = c::rd_kafka_TopicDescription_error(description);
        if !error.is_null() && c::rd_kafka_error_code(error) != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let id = c::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return None;
        }
        let high = c::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
        let low = c::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
        let id = (u128::from(high) << 64) | u128::from(low);
        // Brokers before 2.8 name no identity, which reads as zero.
        (id != 0).then_some(id)
    }
}
