/**
 * What a controller says of itself, and what it takes without doing anything (Bluetooth Core 5.4, Vol 4 Part E, section 7):
 * the return parameters of the command after its status, or undefined for a command that does something.
 */
export function fixedAnswer(opcode: number): readonly number[] | undefined {
  switch (opcode) {
    case 0x1001: // Read Local Version: 5.0, a company number that nobody has
      return [9, 0, 0, 9, 0xff, 0xff, 0, 0]
    case 0x1002: // Read Local Supported Commands: none beyond those that every controller has
      return new Array<number>(64).fill(0)
    case 0x1003: // Read Local Supported Features: LE (bit 38), no BR/EDR (bit 37)
      return [0, 0, 0, 0, 0x60, 0, 0, 0]
    case 0x2003: // LE Read Local Supported Features: none, which keeps hosts on the legacy commands
      return new Array<number>(8).fill(0)
    case 0x201c: // LE Read Supported States: all of them
      return [0xff, 0xff, 0xff, 0xff, 0xff, 0x03, 0, 0]
    case 0x0c6c: // Read LE Host Support
      return [1, 0]
    case 0x0c01: // the event masks, LE host support, event filter
    case 0x2001:
    case 0x0c6d:
    case 0x0c05:
    case 0x2005: // LE Set Random Address: only for scanning, where nobody sees it
    case 0x2010: // the filter accept list: everybody is reported
    case 0x2011:
    case 0x2012:
      return []
    default:
      return undefined
  }
}
