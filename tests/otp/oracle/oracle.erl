%% The oracle: runs every scenario of scenarios.terms on real Erlang/OTP and writes down what happened.
%%
%% It knows nothing about the Python kernel. It interprets a scenario (a supervision tree and a list of
%% steps), and writes scenario and trace together to a JSON file, so that a replayer needs that file only.
%%
%% A trace has two parts per step:
%%   events    what the supervisors and workers did, in an order OTP defines: each entry is written by
%%             the process that acts, before it acts further, into one ordered table;
%%   outcomes  what was seen from outside (exits, answers to requests): OTP promises no order between
%%             these and the events, so they are sorted.
%%
%% Read scenarios.terms first; it explains the language.
-module(oracle).
-export([main/2, run_all/1]).
-export([start_worker/1, start_worker/2, start_supervisor/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export([log/2]).

%% A step is over when nothing was written for this long.
-define(QUIET_MS, 25).
-define(MACHINES, 6).

worker_defaults() ->
    #{restart => permanent, shutdown => 5000, significant => false, traps_exits => true,
      init => [ok], terminate => ok, continue => ok}.

supervisor_defaults() ->
    #{strategy => one_for_one, intensity => 1, period => 5, auto_shutdown => never,
      restart => permanent, shutdown => infinity, significant => false, children => []}.

%% ---------------------------------------------------------------- running

main(ScenariosPath, TracesPath) ->
    {ok, Scenarios} = file:consult(ScenariosPath),
    ok = file:write_file(TracesPath, document(side_by_side(Scenarios))).

%% Scenarios spend their time waiting and share nothing but registered names: several machines run them side by
%% side. Each has one scheduler, so that all others know of an exit before one of them reacts.
side_by_side(Scenarios) ->
    Machines = [start_machine() || _ <- lists:seq(1, ?MACHINES)],
    Numbered = lists:enumerate(Scenarios),
    Self = self(),
    Ours = fun(Turn) -> [Pair || {Number, _} = Pair <- Numbered, Number rem ?MACHINES =:= Turn] end,
    [spawn_link(fun() -> Self ! {ran, peer:call(Machine, ?MODULE, run_all, [Ours(Turn)], infinity)} end)
     || {Turn, Machine} <- lists:zip(lists:seq(0, ?MACHINES - 1), Machines)],
    Ran = lists:append([receive {ran, Some} -> Some end || _ <- Machines]),
    [Scenario || {_, Scenario} <- lists:sort(Ran)].

start_machine() ->
    Args = ["+S", "1:1", "-pa", filename:dirname(code:which(?MODULE))],
    {ok, Machine, _} = peer:start_link(#{connection => standard_io, args => Args}),
    Machine.

run_all(Numbered) ->
    ok = logger:set_primary_config(level, info),
    ok = logger:remove_handler(default),
    ok = logger:add_handler(oracle, ?MODULE, #{}),
    [{Number, run(Scenario)} || {Number, Scenario} <- Numbered].

run(#{name := Name, tree := Tree, steps := Steps} = Scenario) ->
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() -> Self ! {ran, Name, drive(Tree, Steps)} end),
    receive
        {'DOWN', Monitor, process, _, normal} -> receive {ran, Name, Traced} -> Scenario#{steps := Traced} end;
        {'DOWN', Monitor, process, _, Reason} -> error({scenario_failed, Name, Reason})
    end.

%% The process that drives a scenario is the parent of its tree.
drive(#{id := Root} = Tree, Steps) ->
    process_flag(trap_exit, true),
    trace = ets:new(trace, [named_table, public, ordered_set]),
    incarnations = ets:new(incarnations, [named_table, public]),
    names = ets:new(names, [named_table, public]),
    {Watcher, Monitor} = spawn_monitor(fun watch_loop/0),
    register(watcher, Watcher),
    put(tree, Tree),
    Traced = [step(Step) || Step <- Steps],
    {undefined, _} = {whereis(Root), the_last_step_left_it_running},
    exit(Watcher, kill),
    receive {'DOWN', Monitor, process, _, Reason} -> killed = Reason end,
    Traced.

step(Do) ->
    ets:delete_all_objects(trace),
    answer(driver, Do),
    wait_quiet(-1),
    Written = [Entry || {_, Entry} <- ets:tab2list(trace)],
    #{do => Do,
      events => [Event || {event, Event} <- Written],
      outcomes => lists:sort([Outcome || {outcome, Outcome} <- Written])}.

wait_quiet(Before) ->
    timer:sleep(?QUIET_MS),
    case ets:info(trace, size) of
        Before -> ok;
        Size -> wait_quiet(Size)
    end.

event(Event) -> write({event, Event}).
outcome(Outcome) -> write({outcome, Outcome}).
write(Entry) -> ets:insert(trace, {erlang:unique_integer([monotonic]), Entry}).

%% ---------------------------------------------------------------- steps

answer(Who, Do) ->
    case perform(Do) of
        no_answer -> ok;
        Answer -> outcome([answer, Who, Answer])
    end.

perform([client, Who, Do]) ->
    spawn(fun() -> answer(Who, Do) end),
    no_answer;
perform([wait, Ms]) ->
    timer:sleep(Ms),
    no_answer;

perform([start]) ->
    case start_supervisor(get(tree)) of
        {ok, _} -> ok;
        {error, Reason} -> reason(Reason)
    end;
perform([stop, Root]) ->
    Monitor = monitor(process, Root),
    exit(whereis(Root), shutdown),
    receive {'DOWN', Monitor, process, _, Reason} -> reason(Reason) end;

perform([exit, Id, Reason]) ->
    gen_server:cast(Id, {exit, case Reason of [shutdown, Info] -> {shutdown, Info}; _ -> Reason end}),
    no_answer;
perform([kill, Id]) ->
    exit(whereis(Id), kill),
    no_answer;
perform([release, Id]) ->
    Id ! release,
    no_answer;
perform([call, Id, Message]) ->
    try gen_server:call(Id, Message, infinity)
    catch exit:{Reason, {gen_server, call, _}} -> [exit, reason(Reason)]
    end;
perform([cast, Id, Message]) ->
    gen_server:cast(Id, Message);

perform([which_children, Supervisor]) ->
    [[name_of(Id, Pid), state_of(Pid), Type] || {Id, Pid, Type, _} <- supervisor:which_children(Supervisor)];
perform([start_child, Supervisor, Spec]) ->
    start_answer(supervisor:start_child(Supervisor, child_spec(Spec)));
perform([start_instance, Supervisor, Spec]) ->
    start_answer(supervisor:start_child(Supervisor, [Spec]));
perform([terminate_instance, Supervisor, Id]) ->
    plain_answer(supervisor:terminate_child(Supervisor, whereis(Id)));
perform([terminate_child, Supervisor, Id]) ->
    plain_answer(supervisor:terminate_child(Supervisor, Id));
perform([restart_child, Supervisor, Id]) ->
    start_answer(supervisor:restart_child(Supervisor, Id));
perform([delete_child, Supervisor, Id]) ->
    plain_answer(supervisor:delete_child(Supervisor, Id)).

start_answer({ok, undefined}) -> ignored;
start_answer({ok, _}) -> ok;
start_answer({error, {already_started, _}}) -> already_started;
start_answer({error, {Reason, Child}}) when element(1, Child) =:= child -> [start_failed, reason(Reason)];
start_answer({error, Word}) when Word =:= bad_init -> [start_failed, Word];
start_answer(Other) -> plain_answer(Other).

plain_answer(ok) -> ok;
plain_answer({error, Word}) when is_atom(Word) -> Word.

state_of(undefined) -> stopped;
state_of(restarting) -> restarting;
state_of(Pid) when is_pid(Pid) -> running.

%% ---------------------------------------------------------------- the tree

start_supervisor(#{id := Id} = Spec) ->
    supervisor:start_link({local, Id}, ?MODULE, {supervisor, maps:merge(supervisor_defaults(), Spec)}).

start_worker(#{id := Id} = Spec) ->
    gen_server:start_link({local, Id}, ?MODULE, {worker, maps:merge(worker_defaults(), Spec)}, []).

%% Instances of a simple_one_for_one supervisor: the template, and what the request adds.
start_worker(Template, Extra) ->
    start_worker(maps:merge(Template, Extra)).

child_spec(#{id := Id, children := _} = Spec) ->
    child_spec(Id, maps:merge(supervisor_defaults(), Spec), {start_supervisor, [Spec]}, supervisor);
child_spec(#{id := Id} = Spec) ->
    child_spec(Id, maps:merge(worker_defaults(), Spec), {start_worker, [Spec]}, worker).

child_spec(Id, #{restart := Restart, shutdown := Shutdown, significant := Significant}, {Start, Args}, Type) ->
    #{id => Id, start => {?MODULE, Start, Args}, restart => Restart, shutdown => Shutdown,
      significant => Significant, type => Type}.

init({supervisor, #{id := Id, strategy := Strategy, intensity := Intensity, period := Period,
                    auto_shutdown := AutoShutdown, children := Children}}) ->
    watch(Id),
    {ok, {#{strategy => Strategy, intensity => Intensity, period => Period, auto_shutdown => AutoShutdown},
          [child_spec(Child) || Child <- Children]}};
init({worker, #{id := Id, init := Script, traps_exits := Traps} = Spec}) ->
    process_flag(trap_exit, Traps),
    watch(Id),
    event([init, Id]),
    Incarnation = ets:update_counter(incarnations, Id, 1, {Id, 0}),
    init_as(lists:nth(min(Incarnation, length(Script)), Script), Spec).

init_as(ok, #{continue := ok} = Spec) -> {ok, Spec};
init_as(ok, Spec) -> {ok, Spec, {continue, go}};
init_as(crash, _) -> {stop, bad_init};
init_as(ignore, _) -> ignore;
init_as([stop, Reason], _) -> {stop, Reason};
init_as([takes, Ms, Outcome], Spec) -> timer:sleep(Ms), init_as(Outcome, Spec).

%% ---------------------------------------------------------------- the worker

handle_continue(go, #{continue := crash} = Spec) ->
    {stop, crash, Spec};
handle_continue(go, #{id := Id, continue := [takes, Ms]} = Spec) ->
    timer:sleep(Ms),
    event([continued, Id]),
    {noreply, Spec}.

handle_call(Message, From, #{id := Id} = Spec) ->
    event([handled, Id, Message]),
    answer_call(Message, From, Spec).

answer_call(hold, _, Spec) -> receive release -> {reply, released, Spec} end;
answer_call(hold_then_crash, _, Spec) -> receive release -> {stop, crash, Spec} end;
answer_call(crash, _, Spec) -> {stop, crash, Spec};
answer_call(stop, _, Spec) -> {stop, normal, Spec};
answer_call(stop_with_reply, _, Spec) -> {stop, normal, bye, Spec};
answer_call(defer, From, Spec) -> {noreply, Spec#{deferred => From}};
answer_call(settle, _, #{deferred := From} = Spec) -> gen_server:reply(From, settled), {reply, ok, Spec};
answer_call(call_yourself, _, #{id := Id} = Spec) ->
    try gen_server:call(Id, anything)
    catch exit:{calling_self, _} -> {reply, calling_self, Spec}
    end;
answer_call(Message, _, Spec) -> {reply, Message, Spec}.

handle_cast({exit, Reason}, Spec) ->
    {stop, Reason, Spec};
handle_cast(Message, #{id := Id} = Spec) ->
    event([handled, Id, Message]),
    {noreply, Spec}.

handle_info(_, Spec) -> {noreply, Spec}.

terminate(Reason, #{id := Id, terminate := Manner}) ->
    event([terminate, Id, reason(Reason)]),
    clean_up(Manner, Id).

clean_up(ok, _) -> ok;
clean_up(crash, _) -> exit(bad_cleanup);
clean_up(normal, _) -> exit(normal);
clean_up([takes, Ms], Id) -> timer:sleep(Ms), event([cleaned_up, Id]).

%% ---------------------------------------------------------------- watching

%% Called by a process for itself: from here on its exit will be an outcome.
watch(Id) ->
    watcher ! {watch, self(), Id},
    receive {watched, Id} -> ok end.

watch_loop() ->
    receive
        {watch, Pid, Id} ->
            monitor(process, Pid),
            ets:insert(names, {Pid, Id}),
            Pid ! {watched, Id};
        {'DOWN', _, process, _, {start_spec, _}} ->
            refused_before_it_became_a_supervisor;
        {'DOWN', _, process, Pid, Reason} ->
            outcome([exit, ets:lookup_element(names, Pid, 2), reason(Reason)])
    end,
    watch_loop().

%% A logger handler runs in the process that logs: here, the supervisor.
log(#{msg := {report, #{label := {supervisor, Kind}, report := Report}}}, _) ->
    case proplists:get_value(supervisor, Report) of
        {local, Supervisor} -> report(Kind, Supervisor, Report);
        _ -> not_ours
    end;
log(_, _) -> not_ours.

report(progress, Supervisor, Report) ->
    when_ours(Supervisor, fun() -> event([report, progress, Supervisor, child_of(started, Report)]) end);
report(Kind, Supervisor, Report) ->
    Reason = reason(proplists:get_value(reason, Report)),
    when_ours(Supervisor, fun() -> event([report, Kind, Supervisor, child_of(offender, Report), Reason]) end).

when_ours(Supervisor, Report) ->
    ets:whereis(names) =/= undefined andalso ets:match(names, {'$1', Supervisor}) =/= [] andalso Report().

child_of(Key, Report) ->
    Child = proplists:get_value(Key, Report),
    name_of(proplists:get_value(id, Child), proplists:get_value(pid, Child)).

%% A simple_one_for_one supervisor identifies its children by pid only.
name_of(Id, Pid) ->
    case ets:lookup(names, Pid) of
        [{Pid, Name}] -> Name;
        [] -> Id
    end.

reason(normal) -> normal;
reason(shutdown) -> shutdown;
reason({shutdown, {failed_to_start_child, Id, _}}) -> [failed_to_start_child, Id];
reason({start_spec, {duplicate_child_name, Id}}) -> [duplicate_child_name, Id];
reason({shutdown, Info}) -> [shutdown, Info];
reason(killed) -> killed;
reason(noproc) -> noproc;
reason(reached_max_restart_intensity) -> reached_max_restart_intensity;
reason(Crash) when Crash =:= crash; Crash =:= bad_init; Crash =:= bad_cleanup -> Crash.

%% ---------------------------------------------------------------- JSON

document(Scenarios) ->
    {ok, Version} = file:read_file(filename:join([code:root_dir(), "releases",
                                                  erlang:system_info(otp_release), "OTP_VERSION"])),
    ["{\n\"otp\": ", json(string:trim(Version)),
     ",\n\"worker_defaults\": ", json(worker_defaults()),
     ",\n\"supervisor_defaults\": ", json(supervisor_defaults()),
     ",\n\"scenarios\": [\n", lists:join(",\n", [scenario(Scenario) || Scenario <- Scenarios]), "\n]\n}\n"].

scenario(#{name := Name, about := About, tree := Tree, steps := Steps} = Scenario) ->
    ["{\"name\": ", json(Name),
     ",\n \"about\": ", json(unicode:characters_to_binary(About)),
     ",\n \"ordered\": ", json(maps:get(ordered, Scenario, true)),
     ",\n \"tree\": ", json(Tree),
     ",\n \"steps\": [\n  ", lists:join(",\n  ", [json(Step) || Step <- Steps]), "]}"].

json(Map) when is_map(Map) ->
    ["{", lists:join(", ", [[json(Key), ": ", json(Value)] || {Key, Value} <- lists:sort(maps:to_list(Map))]), "}"];
json(List) when is_list(List) -> ["[", lists:join(", ", [json(Item) || Item <- List]), "]"];
json(Boolean) when is_boolean(Boolean) -> atom_to_list(Boolean);
json(Atom) when is_atom(Atom) -> ["\"", atom_to_list(Atom), "\""];
json(Text) when is_binary(Text) -> ["\"", Text, "\""];
json(Integer) when is_integer(Integer) -> integer_to_list(Integer).
