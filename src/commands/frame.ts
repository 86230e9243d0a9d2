import type { Argv, CommandModule, InferredOptionTypes, Options } from 'yargs'
import { closest, distance } from 'fastest-levenshtein'
import { availableThreads, Device, type DeviceOptions } from '../../bindings/index.js'
import { EXIT_CODES, NichelmError } from '../base/errors.js'

/** Aborted by SIGINT or SIGTERM: what runs saves and throws INTERRUPTED. */
export const interruption = new AbortController()

/** As yargs has them; a number is whole and at least `minimum` (0 if absent), unless `fraction` allows parts. */
export interface Option extends Options { minimum?: number; fraction?: boolean }
export type OptionTable = Record<string, Option>

export interface CommandDefinition<Table extends OptionTable> {
  /** As yargs reads it: verb, positional arguments. */
  command: string
  describe: string
  /** Each positional argument of `command`. */
  positionals?: Record<string, { describe: string }>
  options: Table
  /** Command lines that work, each with what it does. */
  examples: readonly (readonly [line: string, does: string])[]
  run(args: InferredOptionTypes<Table> & Record<string, unknown>): Promise<void> | void
}

/** A verb of the command line: options, at least one example, exit codes. */
export function define<const Table extends OptionTable>(definition: CommandDefinition<Table>): CommandModule {
  return {
    command: definition.command,
    describe: definition.describe,
    builder: (argv: Argv) => {
      for (const [name, { describe }] of Object.entries(definition.positionals ?? {})) argv.positional(name, { type: 'string', demandOption: true, describe })
      argv.options(definition.options)
      for (const [line, does] of definition.examples) argv.example(`$0 ${line}`, does)
      return argv.epilogue(EPILOGUE).demandCommand(0, 0).strict()
    },
    handler: args => {
      checkOptions({ ...definition.options, stack: { type: 'boolean' } }, args)
      return definition.run(args as InferredOptionTypes<Table> & Record<string, unknown>)
    },
  }
}

function checkOptions(options: OptionTable, args: Record<string, unknown>): void {
  const wrong = (what: string): never => { throw new NichelmError('USAGE', what, { fix: 'See --help.' }) }
  for (const [name, { type, array, minimum = 0, fraction = false }] of Object.entries(options)) {
    const value = args[name]
    if (value === undefined) continue
    if (name === 'threads') checkThreads(value)
    if (Array.isArray(value) && !array) wrong(`--${name}: was given more than once`)
    if (type === 'boolean') checkSwitch(name)
    if (type === 'string' && (value === '' || Array.isArray(value) && value.includes(''))) wrong(`--${name}: has no value`)
    if (type !== 'number') continue
    if (typeof value !== 'number' || !Number.isFinite(value)) wrong(`--${name}: must be a number`)
    if (!fraction && !Number.isInteger(value)) wrong(`--${name} ${value}: must be a whole number`)
    if (Number(value) < minimum) wrong(`--${name} ${value}: must be at least ${minimum}`)
  }
}

/** Throws USAGE for a switch with a word behind its `=`: the parser would take it as not given. */
function checkSwitch(name: string): void {
  const end = process.argv.indexOf('--'), given = process.argv.slice(2, end < 0 ? undefined : end)
  const word = given.find(arg => arg.startsWith(`--${name}=`) && !/=(true|false)$/.test(arg))
  if (word !== undefined) throw new NichelmError('USAGE', `${word}: is given or not, and takes no value`, { fix: `Write --${name}, or leave it out.` })
}

/** Throws USAGE for what is no number of threads that this process may use. */
function checkThreads(threads: unknown): void {
  const cores = availableThreads(), fix = `Give 1 to ${cores}, or all; \`nichelm doctor\` tells which cores there are.`
  if (Array.isArray(threads)) throw new NichelmError('USAGE', '--threads: was given more than once', { fix })
  if (!Number.isInteger(threads) || Number(threads) < 1) throw new NichelmError('USAGE', `--threads${Number.isNaN(threads) ? '' : ` ${threads}`}: must be a whole number of threads from 1 on, or all`, { fix })
  if (Number(threads) > cores) throw new NichelmError('USAGE', `--threads ${threads}: this process may use ${cores} core${cores === 1 ? '' : 's'}`, { fix })
}

/** A number, NaN for what is none; what was given more than once stays a list. */
const readThreads = (given: string): number => given === 'all' ? availableThreads() : Array.isArray(given) ? given as never : given.trim() === '' ? NaN : Number(given)

/** A verb that only holds others. */
export const group = (name: string, describe: string, commands: readonly CommandModule[]): CommandModule => ({
  command: name,
  describe,
  builder: (argv: Argv) => {
    for (const command of commands) argv.command(command)
    return argv.epilogue(EPILOGUE).strict().demandCommand(1, 1, `${name}: which one? ${verbs(commands).join(', ')}`)
  },
  handler: () => {},
})

export const verbs = (commands: readonly CommandModule[]): string[] =>
  commands.map(({ command }) => (Array.isArray(command) ? String(command[0]) : String(command)).split(' ')[0]!)

export const jsonOption = { json: { type: 'boolean', default: false, describe: 'Print results as JSON; progress goes to standard error' } } as const satisfies OptionTable

export const threadsOption = { threads: { type: 'string', default: 'all', coerce: readThreads, describe: 'Threads of the CPU: a number, or all for as many as there are cores' } } as const satisfies OptionTable

export const deviceOptions = {
  device: { type: 'string', default: 'cpu', describe: 'Device to compute on: cpu, cuda (the first NVIDIA GPU), cuda:1 (the second), ...' },
  ...threadsOption,
  precision: { type: 'string', choices: ['f32', 'bf16'] as const, default: 'bf16' as 'f32' | 'bf16', describe: 'Precision of the computation' },
} as const satisfies OptionTable

/** Opens the device that the options name. Throws USAGE for a name that is none, DEVICE with what is missing for one that is not there. */
export const openDevice = ({ device, threads }: { device: string; threads: number }): Device => new Device({ ...deviceOf(device), threads })

/** What --device says. Throws USAGE. */
export function deviceOf(name: string): Pick<DeviceOptions, 'kind' | 'index'> {
  const found = /^(cpu|cuda(?::(\d{1,4}))?)$/.exec(name)
  if (!found) throw new NichelmError('USAGE', `--device ${name}: is no device`, { fix: 'Give cpu, cuda, or cuda:N for the GPU with that number.' })
  return name === 'cpu' ? { kind: 'cpu' } : { kind: 'cuda', index: Number(found[2] ?? 0) }
}

/** Prints a result: as JSON on one line, its keys in snake_case, or as text. */
export function print(json: boolean, result: unknown, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(snakeCase(result))}\n` : `${text().trimEnd()}\n`)
}

function snakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCase)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`), snakeCase(item)]))
}

/** One line of progress, on standard error. */
export const progress = (line: string): void => { process.stderr.write(`${line}\n`) }

/**
 * Turns what yargs says about a bad command line into a USAGE error that names the nearest option or command.
 * `args`: the command line; `known`: what could have stood there.
 */
export function usageError(message: string, args: readonly string[], known: { options: readonly string[]; commands: readonly string[] }): NichelmError {
  // An option that is misspelt is told first: it is often why another one is missing.
  const option = args.map(arg => arg.split('=')[0]!).find(arg => arg.startsWith('--') && !known.options.includes(arg.replace(/^--no-/, '--')) && !known.options.includes(arg))
  const word = /^Unknown (?:argument|command)s?: (.+)$/.exec(message)?.[1]?.split(', ')[0]
  const name = option ?? word, among = option ? known.options : known.commands
  const excluded = /^Arguments (\S+) and (\S+) are mutually exclusive/.exec(message)
  if (excluded && !option) return new NichelmError('USAGE', `--${excluded[1]} and --${excluded[2]} exclude each other`, { fix: 'Give one of them; see --help.' })
  const choice = /^Invalid values:\s+Argument: (\S+), Given: (.*), Choices: (.*)/.exec(message)
  if (choice && !option) return new NichelmError('USAGE', `--${choice[1]} ${choice[2]}: there is no such choice`.replaceAll('"', ''), { fix: `There are ${choice[3]!.replaceAll('"', '')}.` })
  const implied = /^Implications failed:\s+(\S+) -> (\S+)/.exec(message)
  if (implied && !option) return new NichelmError('USAGE', `--${implied[1]} needs --${implied[2]}`, { fix: 'Give both; see --help.' })
  if (name === undefined) return new NichelmError('USAGE', lower(message), { fix: 'See --help.' })
  // What was begun rightly is more likely than what is a few letters away.
  const near = among.find(one => name.length > 3 && one.startsWith(name)) ?? (among.length > 0 ? closest(name, [...among]) : undefined)
  const kind = option ? 'an option' : known.commands.length > 0 ? 'a command' : 'an argument'
  const list = among.length > 0 ? `Known here: ${among.join(', ')}.` : 'See --help.'
  return new NichelmError('USAGE', `${name} is not ${kind} here`, { fix: near && (near.startsWith(name) || distance(name, near) <= Math.max(2, name.length / 2.5)) ? `Did you mean ${near}?` : list })
}

export const EPILOGUE = `Exit codes: 0 done; ${EXIT_CODES.INTERNAL} a defect of nichelm; ${EXIT_CODES.USAGE} a wrong option or recipe; ${EXIT_CODES.INPUT} an input that is missing or cannot be used; ${EXIT_CODES.CORRUPT} damaged data; ${EXIT_CODES.RESOURCE} not enough memory or disk; ${EXIT_CODES.DEVICE} no such device; ${EXIT_CODES.DIVERGED} the loss diverged; ${EXIT_CODES.INTERRUPTED} interrupted, after saving.`

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
