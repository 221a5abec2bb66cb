"""Two agents, two tasks, one after the other. Nothing in here knows about Segue."""

from crewai import Agent, Crew, Process, Task
from crewai.project import CrewBase, agent, crew, task


@CrewBase
class ReportCrew:
    """Finds facts about a topic, then writes a report from them."""

    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    @agent
    def researcher(self) -> Agent:
        """Finds facts."""
        return Agent(config=self.agents_config["researcher"])

    @agent
    def writer(self) -> Agent:
        """Writes."""
        return Agent(config=self.agents_config["writer"])

    @task
    def research_task(self) -> Task:
        """The facts."""
        return Task(config=self.tasks_config["research_task"])

    @task
    def report_task(self) -> Task:
        """The report. It sees the facts."""
        return Task(config=self.tasks_config["report_task"])

    @crew
    def crew(self) -> Crew:
        """Both, in this order."""
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential)
