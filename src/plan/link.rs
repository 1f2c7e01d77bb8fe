//! Draft → Plan: names become places, and every fault is found at once.
