/** The part of a terminal's input that single keys need. */
export interface KeyInput {
  readonly isTTY?: boolean
  setRawMode?(raw: boolean): unknown
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
  off(event: 'data', listener: (chunk: Buffer) => void): unknown
  resume(): unknown
  pause(): unknown
}

const CTRL_C = '\x03'

/**
 * Single keys without Enter, while the live table is on. A terminal in this mode sends no signal for Ctrl-C, so that
 * is one of the keys; `q` does the same. Gives the terminal back when disposed.
 */
export function listenForKeys(
  input: KeyInput,
  onQuit: () => void,
  keys: Readonly<Record<string, () => void>>,
): Disposable {
  if (input.isTTY !== true || input.setRawMode === undefined) return { [Symbol.dispose]() {} }
  const listener = (chunk: Buffer) => {
    for (const key of chunk.toString()) {
      if (key === CTRL_C || key === 'q') onQuit()
      else keys[key]?.()
    }
  }
  input.setRawMode(true)
  input.on('data', listener)
  input.resume()
  return {
    [Symbol.dispose]() {
      input.off('data', listener)
      input.setRawMode?.(false)
      input.pause()
    },
  }
}
