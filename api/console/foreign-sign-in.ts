import type { Identity } from './sessions.ts'

/** Signing in by somebody else who knows people: the browser is sent there and comes back with an answer. */
export interface ForeignSignIn {
  /** Of the button. */
  readonly name: string
  /**
   * Where to send the browser, and a secret that a cookie keeps until it is back at `redirectUri`. `anew`: they are asked who they
   * are, also where the other still knows it, since somebody signed out here.
   */
  begin(redirectUri: string, anew: boolean): Promise<{ readonly url: string; readonly secret: string }>
  /** Who came back. `query` is that of the address, `secret` what the cookie kept. Rejects for nobody. */
  end(query: string, secret: string): Promise<Identity>
}
