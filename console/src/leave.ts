type Asker = (go: () => void) => void

let asker: Asker | undefined

/** Who asks before something is left that would be lost with it; returns what ends that. */
export function askBefore(ask: Asker): () => void {
  asker = ask
  return () => {
    if (asker === ask) asker = undefined
  }
}

/** Whether somebody is to be asked. */
export const isHeld = (): boolean => asker !== undefined

/** Goes on, at once or when whoever is asked agrees. */
export function leave(go: () => void): void {
  if (asker === undefined) go()
  else asker(go)
}
