/** State of a variable-speed drive with its motor; `step` moves it forward in time. */
export interface Motor {
  enabled: boolean
  /** 1/min. */
  setpoint: number
  /** Time from standstill to full speed, seconds. */
  rampS: number
  speed: number
  /** Winding temperature, degrees Celsius. */
  temperature: number
}

const FULL_SPEED = 3000
const AMBIENT_C = 24
const IDLE_CURRENT_A = 0.4
const LOAD_CURRENT_A = 3.1
/** Time constant of the winding's temperature, seconds: short enough to be watched. */
const THERMAL_S = 90

export const createMotor = (): Motor => ({
  enabled: false,
  setpoint: 0,
  rampS: 5,
  speed: 0,
  temperature: AMBIENT_C,
})

/** Lets `seconds` pass: the speed runs up or down its ramp, the winding warms with the square of the current. */
export function stepMotor(motor: Motor, seconds: number): void {
  const target = motor.enabled ? motor.setpoint : 0
  const most = (FULL_SPEED / Math.max(0.5, motor.rampS)) * seconds
  motor.speed += Math.max(-most, Math.min(most, target - motor.speed))
  const warmest = AMBIENT_C + 4.2 * motorCurrent(motor) ** 2
  motor.temperature += (warmest - motor.temperature) * Math.min(1, seconds / THERMAL_S)
}

/** Amperes: a fan's load grows with the square of its speed, and accelerating costs extra. */
export function motorCurrent(motor: Motor): number {
  if (!motor.enabled && motor.speed < 1) return 0
  const share = motor.speed / FULL_SPEED
  const target = motor.enabled ? motor.setpoint : 0
  const accelerating = target - motor.speed > 1 ? 1.2 : 0
  return IDLE_CURRENT_A + LOAD_CURRENT_A * share ** 2 + accelerating
}

/** Watts taken from the mains, for the meter that feeds this drive. */
export const motorPower = (motor: Motor): number => motorCurrent(motor) * 230 * 0.92

/** Bit 0 running, bit 1 at setpoint, bit 2 enabled. */
export function statusWord(motor: Motor): number {
  const running = motor.speed >= 1 ? 1 : 0
  const atSetpoint = motor.enabled && Math.abs(motor.speed - motor.setpoint) < 1 ? 2 : 0
  return running | atSetpoint | (motor.enabled ? 4 : 0)
}
